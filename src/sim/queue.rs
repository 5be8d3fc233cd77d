//! What is under way in a world, and when it arrives.

use core::time::Duration;

use crate::engine::Order;
use crate::engine::settings::Record;
use crate::types::{FenceFault, Heartbeat, Instant, LinkId, Mac, OpId, Power, VipId};

/// What is to happen.
#[allow(clippy::large_enum_variant, reason = "most are heartbeats, and none shall allocate")]
#[derive(Clone, Debug)]
pub enum Happening {
    /// A heartbeat arrives.
    Deliver {
        /// At which machine.
        to: usize,
        /// What it says.
        heartbeat: Heartbeat,
    },
    /// Somebody's MAC is heard to have a VIP.
    Claim {
        /// By which machine.
        to: usize,
        /// The VIP.
        vip: VipId,
        /// Whose MAC.
        mac: Mac,
    },
    /// A kernel's answer arrives.
    Answer {
        /// At which machine.
        to: usize,
        /// Of which one.
        of: usize,
        /// On which link.
        link: LinkId,
    },
    /// A shell's operation goes on or ends.
    Shell {
        /// On which machine.
        machine: usize,
        /// Of which daemon: of another one nobody waits for it.
        uid: u64,
        /// The operation.
        op: OpId,
        /// What becomes of it.
        work: Work,
    },
    /// An order to cut the power reaches a device's relay.
    Cut {
        /// The device.
        device: usize,
    },
    /// What pings and probes tell of a machine's service NICs is told, where it is news.
    Sense {
        /// Of which machine.
        machine: usize,
    },
    /// A machine has booted.
    Boot {
        /// Which.
        machine: usize,
        /// In which boot: another one has begun since, otherwise.
        boots: u32,
    },
}

/// What becomes of an operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Work {
    /// One more VIP is in the kernel.
    AddVip(u16),
    /// All VIPs are there.
    Acquired,
    /// They cannot be had.
    AcquireRefused,
    /// All VIPs are gone.
    Released,
    /// They cannot be removed.
    ReleaseRefused,
    /// A VIP was put back.
    Restored(u16),
    /// The record is on disk.
    Stored(Record),
    /// The disk refuses.
    StoreRefused,
    /// A device answers an order to cut the power.
    Commanded(usize),
    /// The shell has found that a fence device is not the host's, and told it nothing.
    Spared(usize),
    /// A device answers an order to restore the power, which has power again by then.
    SwitchedOn(usize),
    /// A device tells the power, to whoever fences its host.
    Read(usize),
    /// An agent looks at the power, and tells it when it ends, after this time.
    Looked(usize, Duration),
    /// An agent ends and tells what it has read.
    Told(usize, Result<Power, FenceFault>),
    /// A device tells the power when it is checked.
    Checked(usize),
    /// An order is sent again to a device that has not answered.
    Repeated {
        /// The device.
        device: usize,
        /// What it is to do.
        order: Order,
        /// When the order's time is over.
        until: Instant,
    },
    /// Nobody answered in time.
    Unanswered,
    /// A device has not answered in time.
    TimedOut,
}

/// When something happens, before what happens at the same time, and where it lies.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Key {
    at: Instant,
    order: u64,
    slot: u32,
}

/// What is under way. Few things are at any time, so the next one is found by looking at all keys.
#[derive(Debug, Default)]
pub struct Queue {
    keys: Vec<Key>,
    slots: Vec<Option<Happening>>,
    free: Vec<u32>,
    order: u64,
}

impl Clone for Queue {
    /// Without the room that nothing lies in.
    fn clone(&self) -> Self {
        let slots = self.iter().cloned().map(Some).collect();
        let place = |(slot, key): (usize, &Key)| Key { slot: slot as u32, ..*key };
        let keys = self.keys.iter().enumerate().map(place).collect();
        Self { keys, slots, free: Vec::new(), order: self.order }
    }
}

impl Queue {
    /// Lets something happen at `at`, after everything else that does then.
    pub fn add(&mut self, at: Instant, happening: Happening) {
        self.order += 1;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() as u32 - 1
        });
        self.slots[slot as usize] = Some(happening);
        self.keys.push(Key { at, order: self.order, slot });
    }

    /// When the next thing happens, and its place, until something is added or taken.
    pub fn next(&self) -> Option<(Instant, usize)> {
        let mut first = *self.keys.first()?;
        let mut place = 0;
        for (index, key) in self.keys.iter().enumerate().skip(1) {
            if (key.at, key.order) < (first.at, first.order) {
                first = *key;
                place = index;
            }
        }
        Some((first.at, place))
    }

    /// Takes what lies at a place.
    pub fn take(&mut self, index: usize) -> Happening {
        let key = self.keys.swap_remove(index);
        self.free.push(key.slot);
        self.slots[key.slot as usize].take().expect("a key has its slot")
    }

    /// Forgets what lies at a place.
    pub fn forget(&mut self, index: usize) {
        let key = self.keys.swap_remove(index);
        self.free.push(key.slot);
        self.slots[key.slot as usize] = None;
    }

    /// All that is under way, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Happening> {
        self.keys.iter().filter_map(|key| self.slots[key.slot as usize].as_ref())
    }

    /// What lies at a place.
    pub fn at(&self, index: usize) -> &Happening {
        self.slots[self.keys[index].slot as usize].as_ref().expect("a key has its slot")
    }

    /// The places of what happens before what lies at a place.
    pub fn keys_before(&self, index: usize) -> impl Iterator<Item = usize> {
        let limit = self.keys[index];
        let keys = self.keys.iter().enumerate();
        keys.filter(move |(_, key)| (key.at, key.order) < (limit.at, limit.order)).map(|(i, _)| i)
    }

    /// Forgets claims and cuts that are under way more often than `cuts` times (claims: once): one
    /// more does no more.
    pub fn drop_doubles(&mut self, cuts: usize) {
        let mut claims: Vec<(usize, VipId, Mac)> = Vec::new();
        let mut devices: Vec<usize> = Vec::new();
        let (slots, free) = (&mut self.slots, &mut self.free);
        self.keys.retain(|key| {
            let slot = &mut slots[key.slot as usize];
            let is_new = match slot {
                Some(Happening::Claim { to, vip, mac }) => {
                    let claim = (*to, *vip, *mac);
                    let is_new = !claims.contains(&claim);
                    claims.push(claim);
                    is_new
                }
                Some(Happening::Cut { device }) => {
                    let known = devices.iter().filter(|known| *known == device).count();
                    devices.push(*device);
                    known < cuts
                }
                Some(
                    Happening::Deliver { .. }
                    | Happening::Shell { .. }
                    | Happening::Answer { .. }
                    | Happening::Sense { .. }
                    | Happening::Boot { .. },
                )
                | None => true,
            };
            if !is_new {
                *slot = None;
                free.push(key.slot);
            }
            is_new
        });
    }

    /// How many things are under way.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether nothing is under way.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Forgets whatever is not to be kept.
    pub fn retain(&mut self, keep: impl Fn(&Happening) -> bool) {
        let (slots, free) = (&mut self.slots, &mut self.free);
        self.keys.retain(|key| {
            let slot = &mut slots[key.slot as usize];
            let kept = slot.as_ref().is_some_and(&keep);
            if !kept {
                *slot = None;
                free.push(key.slot);
            }
            kept
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_first_comes_first_and_of_two_the_one_that_was_added_first() {
        let mut queue = Queue::default();
        for (at, device) in [(20, 0), (10, 1), (20, 2), (10, 3)] {
            queue.add(Instant::from_millis(at), Happening::Cut { device });
        }
        queue.retain(|happening| !matches!(happening, Happening::Cut { device: 2 }));
        queue.add(Instant::from_millis(15), Happening::Cut { device: 4 });
        let mut order = Vec::new();
        while let Some((_, index)) = queue.next() {
            let Happening::Cut { device } = queue.take(index) else { unreachable!() };
            order.push(device);
        }
        assert_eq!(order, [1, 3, 4, 0]);
        assert!(queue.is_empty());
    }
}

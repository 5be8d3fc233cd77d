//! How the service side comes to be, and comes back after a failure.

use std::io;

use mio::Token;
use nix::errno::Errno;
use nix::poll::{PollTimeout, poll};

use super::super::packet::{NicPackets, VipsByAddress};
use super::{Network, Occurrence, REOPEN_AFTER, TOKENS_PER_NIC};
use crate::config::network::Vip;
use crate::io::netlink::{Answer, Fault, Netlink, Request};
use crate::types::{Instant, NicId, VipId};

/// How many milliseconds the kernel has, at the start, to list its links and addresses.
const LEARN_MS_MAX: u32 = 2000;

/// The VIPs that live on that NIC.
pub(super) fn vips_of(nic: NicId, vips: &[Vip]) -> Vec<VipId> {
    let numbered = (0..u16::MAX).map(VipId).zip(vips);
    numbered.filter(|(_, vip)| vip.nic == nic).map(|(id, _)| id).collect()
}

impl Network {
    /// Opens the connection and learns what there is, waiting for it.
    pub(super) fn learn(&mut self, now: Instant) -> io::Result<()> {
        let mut netlink = self.connect()?;
        let Answer::Links(links) = ask_and_wait(&mut netlink, now, Request::Links)? else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let Answer::Addresses(addresses) = ask_and_wait(&mut netlink, now, Request::Addresses)?
        else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        self.netlink = Some(netlink);
        self.nics.enter_links(&links);
        self.nics.enter_addresses(&addresses);
        self.leftovers = self.vips.find_in(&addresses).into_iter().map(|(vip, _)| vip).collect();
        self.leftovers.dedup();
        self.note_routers();
        for nic in self.nics.ids() {
            self.open_nic(now, nic);
            let up = self.nics.is_up(nic);
            self.occurrences.push_back(Occurrence::Carrier { nic, up });
        }
        Ok(())
    }

    fn connect(&self) -> io::Result<Netlink> {
        let mut netlink = Netlink::open()?;
        let (requests, events) = (Token(self.first_token), Token(self.first_token + 1));
        netlink.register(&self.registry, requests, events)?;
        Ok(netlink)
    }

    /// Gives a broken connection up: whatever it still owes is unanswered.
    pub(super) fn drop_netlink(&mut self, now: Instant) {
        if let Some(netlink) = &mut self.netlink {
            netlink.turn(now);
        }
        self.take_replies(now);
        self.netlink = None;
        self.reopen_at = Some(now + REOPEN_AFTER);
    }

    /// Opens the connection again. What changed meanwhile shows in the lists.
    pub(super) fn reopen_netlink(&mut self, now: Instant) {
        match self.connect() {
            Ok(netlink) => {
                self.netlink = Some(netlink);
                self.reopen_at = None;
                self.must_list_links = true;
                self.vips.check();
            }
            Err(error) => {
                log::error!("no netlink connection: {error}");
                self.reopen_at = Some(now + REOPEN_AFTER);
            }
        }
    }

    /// Opens the sockets of a NIC that appeared, closes those of one that is gone. What fails is
    /// tried again.
    pub(super) fn open_nic(&mut self, now: Instant, nic: NicId) {
        let index = self.nics.index(nic);
        let name = self.nics.name(nic);
        let Some(slot) = self.slots.get_mut(nic.index()) else { return };
        let token = |n: usize| Token(self.first_token + 2 + nic.index() * TOKENS_PER_NIC + n);
        if let Some(old) = slot.packets.take() {
            old.close(&self.registry);
        }
        slot.reopen_at = None;
        if let Some(index) = index {
            let planned = slot.vips.iter().filter_map(|vip| Some((*vip, self.vips.get(*vip)?)));
            let by_address: VipsByAddress =
                planned.map(|(vip, plan)| (plan.net.addr(), vip)).collect();
            match NicPackets::open(index, by_address, &self.registry, token(0), token(1)) {
                Ok(packets) => slot.packets = Some(packets),
                Err(error) => {
                    log::error!("no packet sockets on {name}: {error}");
                    slot.reopen_at = Some(now + REOPEN_AFTER);
                }
            }
        }
        if let Some(pinger) = &mut slot.pinger
            && let Err(error) = pinger.reopen(index, &self.registry, token(2), token(3))
        {
            log::error!("no pings on {name}: {error}");
            slot.reopen_at = Some(now + REOPEN_AFTER);
        }
        if let Some(prober) = &mut slot.prober
            && let Err(error) = prober.reopen(index, &self.registry, token(4))
        {
            log::error!("no probes between the nodes on {name}: {error}");
            slot.reopen_at = Some(now + REOPEN_AFTER);
        }
    }

    /// Notes which NICs forward IPv6 now. An advertisement that denies it makes hosts forget a
    /// default router (RFC 4861 §7.2.5).
    pub(super) fn note_routers(&mut self) {
        for (nic, slot) in self.nics.ids().zip(&mut self.slots) {
            let is_ipv6 =
                |vip: &VipId| self.vips.get(*vip).is_some_and(|plan| plan.net.addr().is_ipv6());
            let name = self.nics.name(nic);
            if !slot.vips.iter().any(is_ipv6) || name.contains('/') {
                continue;
            }
            let path = format!("/proc/sys/net/ipv6/conf/{name}/forwarding");
            let text = std::fs::read_to_string(path).unwrap_or_default();
            slot.is_router = !matches!(text.trim(), "" | "0");
        }
    }
}

/// One request, waited for. Only before the loop begins.
fn ask_and_wait(netlink: &mut Netlink, now: Instant, request: Request) -> io::Result<Answer> {
    let unanswered = || io::Error::from(io::ErrorKind::TimedOut);
    let wanted = netlink.submit(now, request).ok_or_else(unanswered)?;
    for _ in 0..LEARN_MS_MAX {
        netlink.turn(now);
        while let Some((id, result)) = netlink.next_reply() {
            if id == wanted {
                return result.map_err(|fault| match fault {
                    Fault::Denied(errno) => errno.into(),
                    Fault::Unanswered => unanswered(),
                });
            }
        }
        if !netlink.has_more() {
            match poll(&mut [], PollTimeout::from(1_u8)) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
    Err(unanswered())
}

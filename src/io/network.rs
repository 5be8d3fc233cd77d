//! The service side of a node as one thing on the loop: VIPs, carriers, claims, pings.
//!
//! ```text
//!  engine's effects                                       inputs for the engine
//!  acquire, release, restore ──► Vips ──asks──► Netlink ──► Done, VipGone, VipStray,
//!                                                           Carrier, Mac
//!  announce, probe           ──► Schedule ────► NicPackets ──► Claim
//!                                               Pinger ──────► Reach
//!                                               Prober ──────► Across
//! ```
//!
//! It carries out and reports; it decides nothing about roles. [`Network::turn`] does a bounded
//! share of what is due; a deadline that is `now` means that there is more.

mod occurrence;
mod setup;

use core::time::Duration;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;

use mio::{Registry, Token};

use super::announce::{Schedule, Sending};
use super::destroy::Destroyer;
use super::netlink::{Address, Answer, Fault, Netlink, Notice, Request, RequestId};
use super::nic::{Change, NicTable};
use super::packet::NicPackets;
use super::ping::Pinger;
use super::probe::{Identity, Prober, Verdict};
use super::vips::{Ask, Asked, VipNews, Vips};
use crate::config::network::{ServiceNic, Vip};
use crate::types::heartbeat::NICS_MAX;
use crate::types::{Instant, Mac, NicId, OpId, VipId};
use crate::wire::auth::Keys;

pub use occurrence::Occurrence;

/// How many tokens a network takes, beginning with the one it is given.
pub const TOKENS: usize = 2 + TOKENS_PER_NIC * NICS_MAX;
const TOKENS_PER_NIC: usize = 5;
/// The most VIPs of one NIC that one probe asks for; the next probe asks for the next ones.
pub const PROBE_VIPS_MAX: usize = 16;
/// The most claims that wait to be taken; further ones are dropped, as a lost frame would be.
pub const CLAIMS_MAX: usize = 1024;
/// How long after a failure the connection to the kernel is opened again.
const REOPEN_AFTER: Duration = Duration::from_secs(1);

/// By what our own frames are told from others'.
#[derive(Debug)]
pub struct Marks {
    /// In each ping.
    pub ping: u16,
    /// In each probe between the nodes.
    pub node: Rc<Identity>,
}

/// The service side.
pub struct Network {
    /// Nothing after it broke, until it is opened again.
    netlink: Option<Netlink>,
    reopen_at: Option<Instant>,
    /// Both lists are to be asked for again: news were lost.
    must_list_links: bool,
    nics: NicTable,
    vips: Vips,
    slots: Vec<NicSlot>,
    /// Asked of the kernel, not yet submitted.
    waiting: VecDeque<Asked>,
    submitted: VecDeque<(RequestId, Purpose)>,
    /// Ends the connections of VIPs that were released.
    destroyer: Option<Destroyer>,
    occurrences: VecDeque<Occurrence>,
    claims: usize,
    leftovers: Vec<VipId>,
    registry: Registry,
    first_token: usize,
}

/// What one NIC needs besides its place in the table.
struct NicSlot {
    packets: Option<NicPackets>,
    /// When its packet sockets are to be opened again, since they could not be.
    reopen_at: Option<Instant>,
    pinger: Option<Pinger>,
    prober: Option<Prober>,
    vips: Vec<VipId>,
    /// Where the next probe begins.
    probe_from: usize,
    /// Whether the host forwards IPv6 from this NIC: an advertisement must say so.
    is_router: bool,
}

enum Purpose {
    Ask(Asked),
    Links,
}

impl Network {
    /// Opens everything, and asks the kernel what there is: the only call that may wait, for
    /// milliseconds, and it is made before the loop begins. `marks` tell our frames, `refresh` is
    /// how often held VIPs are announced for ever. Takes the tokens from `first_token` to
    /// `first_token` + [`TOKENS`].
    ///
    /// # Errors
    /// Those of the netlink sockets and the poll, or that the kernel does not answer. A NIC that is
    /// missing is no error.
    pub fn open(
        nics: &[ServiceNic],
        vips: &[Vip],
        refresh: Option<Duration>,
        marks: &Marks,
        registry: &Registry,
        first_token: Token,
        now: Instant,
    ) -> io::Result<Self> {
        let names = nics.iter().map(|nic| nic.name.clone());
        let table = NicTable::new(names, vips.iter().map(|vip| vip.net.addr()));
        let slots = table.ids().zip(nics).map(|(id, nic)| NicSlot {
            packets: None,
            reopen_at: None,
            pinger: Pinger::new(nic, marks.ping, now),
            prober: nic.probe.map(|plan| Prober::new(Rc::clone(&marks.node), id, plan, now)),
            vips: setup::vips_of(id, vips),
            probe_from: 0,
            is_router: false,
        });
        let mut network = Self {
            netlink: None,
            reopen_at: None,
            must_list_links: false,
            slots: slots.collect(),
            nics: table,
            vips: Vips::new(vips.to_vec(), Schedule::new(vips.len(), refresh)),
            waiting: VecDeque::new(),
            submitted: VecDeque::new(),
            destroyer: None,
            occurrences: VecDeque::new(),
            claims: 0,
            leftovers: Vec::new(),
            registry: registry.try_clone()?,
            first_token: first_token.0,
        };
        network.learn(now)?;
        Ok(network)
    }

    /// Which VIPs the kernel had when this was opened, on whatever link and with whatever prefix.
    pub fn leftovers(&self) -> &[VipId] {
        &self.leftovers
    }

    /// Whether a VIP is on its NIC because this node put it there.
    pub fn is_held(&self, vip: VipId) -> bool {
        self.vips.is_held(vip)
    }

    /// The MAC of a service NIC, if it is there.
    pub fn mac(&self, nic: NicId) -> Option<Mac> {
        self.nics.mac(nic)
    }

    /// Carries out [`crate::engine::Effect::Acquire`].
    pub fn acquire(&mut self, now: Instant, op: OpId) {
        // Connections from now on are those of the new term.
        self.destroyer = None;
        self.note_routers();
        self.vips.acquire(op, &self.nics);
        self.turn(now);
    }

    /// Carries out [`crate::engine::Effect::Release`].
    pub fn release(&mut self, now: Instant, op: OpId) {
        self.vips.release(op, &self.nics);
        self.turn(now);
    }

    /// Carries out [`crate::engine::Effect::Restore`].
    pub fn restore(&mut self, now: Instant, op: OpId, vip: VipId) {
        self.vips.restore(op, vip);
        self.turn(now);
    }

    /// Carries out [`crate::engine::Effect::Announce`].
    pub fn announce(&mut self, now: Instant) {
        self.note_routers();
        self.vips.announce(now);
        self.turn(now);
    }

    /// Carries out [`crate::engine::Effect::Probe`]: asks once for at most [`PROBE_VIPS_MAX`] VIPs
    /// of each NIC, and next time for the next ones. Whether a question left on every NIC that has
    /// VIPs and is up, and on one at least: otherwise silence is no answer.
    ///
    /// The kernel takes up to a second to tell that a carrier is lost (`net/core/link_watch.c`),
    /// and meanwhile swallows the questions: so it is asked, and its answer is there long before
    /// silence is judged.
    pub fn probe(&mut self) -> bool {
        self.must_list_links = true;
        let (mut is_asked, mut is_missed) = (false, false);
        for (id, slot) in self.nics.ids().zip(&mut self.slots) {
            if slot.vips.is_empty() {
                continue;
            }
            let mut left = 0_usize;
            let mac = self.nics.mac(id).filter(|mac| *mac != Mac::NONE);
            if let (Some(mac), Some(packets)) = (mac, &slot.packets) {
                for _ in 0..slot.vips.len().min(PROBE_VIPS_MAX) {
                    let vip = slot.vips.get(slot.probe_from).and_then(|vip| self.vips.get(*vip));
                    slot.probe_from = (slot.probe_from + 1) % slot.vips.len();
                    let Some(addr) = vip.map(|vip| vip.net.addr()) else { continue };
                    // A question that finds no room is lost, as on the wire; the next one follows.
                    let own = self.nics.own_address_for(id, addr);
                    left += usize::from(packets.ask(mac, own, addr).is_ok());
                }
            }
            is_asked |= left > 0;
            is_missed |= left == 0 && self.nics.is_up(id);
        }
        is_asked && !is_missed
    }

    /// Notes that a token is ready; whether it is one of ours. [`Self::turn`] does the work.
    pub fn ready(&mut self, token: Token) -> bool {
        let is_ours = (self.first_token..self.first_token + TOKENS).contains(&token.0);
        for slot in &mut self.slots {
            let is_packet = slot.packets.as_mut().is_some_and(|packets| packets.ready(token));
            let is_probe = slot.prober.as_mut().is_some_and(|prober| prober.ready(token));
            let is_ping = slot.pinger.as_mut().is_some_and(|pinger| pinger.ready(token));
            if is_packet || is_probe || is_ping {
                break;
            }
        }
        is_ours
    }

    /// Does a bounded share of what there is to do. Call it after tokens were ready, and when the
    /// deadline has come.
    pub fn turn(&mut self, now: Instant) {
        self.turn_netlink(now);
        self.submit_asks(now);
        self.announce_due(now);
        // What was just announced may let an operation end, or its next chunk be asked for.
        self.collect_asks();
        self.take_vip_news();
        self.turn_nics(now);
        self.turn_destroyer();
    }

    fn begin_destroying(&mut self) {
        let vips = self.vips.ids().filter_map(|vip| self.vips.get(vip));
        match Destroyer::begin(vips.map(|plan| plan.net.addr()).collect()) {
            Ok(destroyer) => self.destroyer = Some(destroyer),
            Err(error) => log::warn!("connections of the VIPs are not destroyed: {error}"),
        }
    }

    fn turn_destroyer(&mut self) {
        let Some(destroyer) = &mut self.destroyer else { return };
        if let Err(error) = destroyer.turn() {
            log::warn!("connections of the VIPs are not destroyed: {error}");
        }
        if destroyer.is_over() {
            if destroyer.destroyed > 0 {
                log::info!("{} connections of the VIPs were destroyed", destroyer.destroyed);
            }
            self.destroyer = None;
        }
    }

    fn turn_netlink(&mut self, now: Instant) {
        if self.netlink.as_ref().is_some_and(Netlink::is_dead) {
            log::error!("the netlink connection broke; it is opened again");
            self.drop_netlink(now);
        }
        if self.netlink.is_none() && self.reopen_at.is_none_or(|at| now >= at) {
            self.reopen_netlink(now);
        }
        let Some(netlink) = &mut self.netlink else { return };
        netlink.turn(now);
        self.take_replies(now);
        self.take_notices(now);
        if self.must_list_links
            && let Some(netlink) = &mut self.netlink
            && let Some(id) = netlink.submit(now, Request::Links)
        {
            self.must_list_links = false;
            self.submitted.push_back((id, Purpose::Links));
        }
    }

    /// Asks for the next chunk and reads the answers: the kernel gives them while it is asked.
    fn submit_asks(&mut self, now: Instant) {
        self.collect_asks();
        while let Some(asked) = self.waiting.front() {
            let Some(request) = self.request_for(&asked.ask) else {
                // The NIC vanished meanwhile, and its addresses with it.
                self.fail_front(now, Fault::Denied(nix::errno::Errno::ENODEV));
                continue;
            };
            let Some(netlink) = &mut self.netlink else {
                self.fail_front(now, Fault::Unanswered);
                continue;
            };
            let Some(id) = netlink.submit(now, request) else { break };
            if let Some(asked) = self.waiting.pop_front() {
                self.submitted.push_back((id, Purpose::Ask(asked)));
            }
        }
        if !self.submitted.is_empty()
            && let Some(netlink) = &mut self.netlink
        {
            netlink.turn(now);
            self.take_replies(now);
        }
    }

    fn collect_asks(&mut self) {
        self.waiting.extend(self.vips.next_asks(&self.nics));
    }

    fn fail_front(&mut self, now: Instant, fault: Fault) {
        if let Some(asked) = self.waiting.pop_front() {
            self.answer(now, &asked, Err(fault));
        }
    }

    fn request_for(&self, ask: &Ask) -> Option<Request> {
        match ask {
            Ask::Promote(index) => Some(Request::Promote { index: *index }),
            Ask::Add(vip) => {
                let plan = self.vips.get(*vip)?;
                let (index, label) = (self.nics.index(plan.nic)?, plan.label.clone());
                Some(Request::Add { index, net: plan.net, label, prefix_route: true })
            }
            Ask::Delete(_, Address { index, net }) => {
                Some(Request::Delete { index: *index, net: *net })
            }
            Ask::List => Some(Request::Addresses),
        }
    }

    fn take_replies(&mut self, now: Instant) {
        while let Some((id, result)) = self.netlink.as_mut().and_then(Netlink::next_reply) {
            let position = self.submitted.iter().position(|(submitted, _)| *submitted == id);
            let purpose = position.and_then(|position| self.submitted.remove(position));
            match purpose {
                Some((_, Purpose::Ask(asked))) => self.answer(now, &asked, result),
                Some((_, Purpose::Links)) => match result {
                    Ok(Answer::Links(links)) => {
                        let changes = self.nics.enter_links(&links);
                        self.take_changes(now, &changes);
                    }
                    Ok(Answer::Done | Answer::Addresses(_)) | Err(_) => self.must_list_links = true,
                },
                None => {}
            }
        }
    }

    fn answer(&mut self, now: Instant, asked: &Asked, result: Result<Answer, Fault>) {
        match (&asked.ask, result) {
            (Ask::List, Ok(Answer::Addresses(addresses))) => {
                self.nics.enter_addresses(&addresses);
                self.vips.listed(asked, Ok(&addresses), &self.nics);
            }
            (Ask::List, Ok(Answer::Done | Answer::Links(_))) => {
                self.vips.listed(asked, Err(Fault::Unanswered), &self.nics);
            }
            (Ask::List, Err(fault)) => self.vips.listed(asked, Err(fault), &self.nics),
            // The link is gone, and what was on it with it.
            (Ask::Promote(_) | Ask::Delete(..), Err(Fault::Denied(nix::errno::Errno::ENODEV))) => {
                self.vips.answered(now, asked, Ok(()), &self.nics);
            }
            (Ask::Promote(_) | Ask::Add(_) | Ask::Delete(..), result) => {
                self.vips.answered(now, asked, result.map(|_done| ()), &self.nics);
            }
        }
    }

    fn take_notices(&mut self, now: Instant) {
        while let Some(notice) = self.netlink.as_mut().and_then(Netlink::next_notice) {
            match notice {
                Notice::Link(link) => {
                    let changes = self.nics.enter_link(&link);
                    self.take_changes(now, &changes);
                }
                Notice::LinkGone(index) => {
                    let change = self.nics.remove_link(index);
                    self.take_changes(now, change.as_slice());
                }
                Notice::Address(address) => {
                    self.nics.enter_address(&address);
                    if self.nics.is_vip(address.net.addr()) && !self.vips.is_wanting() {
                        // Perhaps one that was released since: the list tells what is.
                        self.vips.check();
                    }
                }
                Notice::AddressGone(address) => {
                    self.nics.remove_address(&address);
                    if self.vips.is_held_address(&address, &self.nics) {
                        // Perhaps an old piece of news: the list tells what is.
                        self.vips.check();
                    }
                }
                Notice::Overrun => {
                    log::warn!("netlink news were lost: asking for everything again");
                    self.must_list_links = true;
                    self.vips.check();
                }
            }
        }
    }

    fn take_changes(&mut self, now: Instant, changes: &[Change]) {
        for change in changes {
            if change.moved {
                self.open_nic(now, change.nic);
                let is_present = self.nics.index(change.nic).is_some();
                self.vips.nic_moved(change.nic, is_present);
            }
            if change.carrier == Some(true) || (change.mac && self.nics.is_up(change.nic)) {
                self.note_routers();
                self.vips.announce_on(now, change.nic);
            }
            // The MAC of a NIC that is gone may answer for a VIP yet: it was renamed, perhaps.
            let mac = self.nics.mac(change.nic).filter(|mac| change.mac && *mac != Mac::NONE);
            if let Some(mac) = mac {
                self.occurrences.push_back(Occurrence::Mac { nic: change.nic, mac });
            }
            if let Some(up) = change.carrier {
                self.occurrences.push_back(Occurrence::Carrier { nic: change.nic, up });
            }
        }
    }

    fn announce_due(&mut self, now: Instant) {
        let (nics, slots) = (&self.nics, &self.slots);
        self.vips.announce_turn(now, |_vip, plan| {
            let slot = slots.get(plan.nic.index());
            match (nics.mac(plan.nic), slot.and_then(|s| Some((s, s.packets.as_ref()?)))) {
                (Some(mac), Some((slot, packets))) => {
                    packets.announce(mac, plan.net.addr(), slot.is_router)
                }
                // There is nobody to tell; a NIC that comes back is announced on again.
                (_, _) => Sending::Over,
            }
        });
    }

    fn take_vip_news(&mut self) {
        while let Some(news) = self.vips.next_news() {
            match news {
                VipNews::Done(op, outcome) => {
                    self.occurrences.push_back(Occurrence::Done { op, outcome });
                }
                VipNews::Gone(vip) => self.occurrences.push_back(Occurrence::VipGone(vip)),
                VipNews::Stray(vip, index) => {
                    let addr = self.vips.get(vip).map_or(String::new(), |p| p.net.to_string());
                    let link = self.nics.link_name(index);
                    log::warn!("somebody put VIP {addr} on {link}");
                    self.occurrences.push_back(Occurrence::VipStray(vip));
                }
                VipNews::Released => self.begin_destroying(),
            }
        }
    }

    fn turn_nics(&mut self, now: Instant) {
        let is_due = |slot: &NicSlot| slot.reopen_at.is_some_and(|at| now >= at);
        for nic in self.nics.ids() {
            if self.slots.get(nic.index()).is_some_and(is_due) {
                self.open_nic(now, nic);
            }
        }
        for (id, slot) in self.nics.ids().zip(&mut self.slots) {
            if let Some(packets) = slot.packets.as_mut().filter(|packets| packets.has_more()) {
                packets.turn(|vip, mac| {
                    if !self.nics.is_own_mac(mac) && self.claims < CLAIMS_MAX {
                        self.claims += 1;
                        self.occurrences.push_back(Occurrence::Claim { vip, mac });
                    }
                });
            }
            let pinger = slot.pinger.as_mut();
            let due = pinger.filter(|p| p.has_more() || p.next_deadline() <= now);
            if let Some(up) = due.and_then(|pinger| pinger.turn(now)) {
                self.occurrences.push_back(Occurrence::Reach { nic: id, up });
            }
            let prober = slot.prober.as_mut();
            let is_due = |p: &&mut Prober| p.next_deadline().is_some_and(|at| at <= now);
            if let Some(prober) = prober.filter(|p| p.has_more() || is_due(p)) {
                let occurrences = &mut self.occurrences;
                prober.turn(now, self.nics.mac(id).filter(|mac| *mac != Mac::NONE), |verdict| {
                    let Verdict { node, passes } = verdict;
                    occurrences.push_back(Occurrence::Across { nic: id, node, passes });
                });
            }
        }
    }

    /// The next thing that happened, in order.
    pub fn next_occurrence(&mut self) -> Option<Occurrence> {
        let next = self.occurrences.pop_front();
        if matches!(next, Some(Occurrence::Claim { .. })) {
            self.claims -= 1;
        }
        next
    }

    /// Probes the peers with these keys from now on.
    pub fn set_keys(&mut self, keys: &Keys) {
        for prober in self.slots.iter_mut().filter_map(|slot| slot.prober.as_mut()) {
            prober.set_keys(keys.clone());
        }
    }

    /// Whether claims of VIPs have come that the last turn left unread.
    pub fn has_claims(&self) -> bool {
        self.slots.iter().filter_map(|slot| slot.packets.as_ref()).any(NicPackets::has_more)
    }

    /// When [`Self::turn`] must be called at the latest; [`Instant::ZERO`], that is at once, if the
    /// last turn left something to do.
    pub fn next_deadline(&mut self) -> Option<Instant> {
        let is_reading = self.netlink.as_mut().is_some_and(Netlink::has_more);
        let is_answered = |slot: &NicSlot| {
            slot.pinger.as_ref().is_some_and(Pinger::has_more)
                || slot.prober.as_ref().is_some_and(Prober::has_more)
        };
        let has_room = self.netlink.as_ref().is_some_and(|n| n.room() > 0 && !n.is_listing());
        let can_ask = (!self.waiting.is_empty() || self.must_list_links) && has_room;
        let is_unread = self.has_claims() || self.slots.iter().any(is_answered);
        if is_reading || can_ask || is_unread || self.destroyer.is_some() {
            return Some(Instant::ZERO);
        }
        let pings = self.slots.iter().filter_map(|slot| slot.pinger.as_ref());
        let probers = self.slots.iter().filter_map(|slot| slot.prober.as_ref());
        let probes = probers.filter_map(Prober::next_deadline).min();
        let sockets = self.slots.iter().filter_map(|slot| slot.reopen_at).min();
        let netlink = self.netlink.as_ref();
        let others = [
            netlink.and_then(Netlink::next_deadline),
            if netlink.is_none() { self.reopen_at } else { None },
            self.vips.next_deadline(),
            sockets,
            probes,
        ];
        others.into_iter().flatten().chain(pings.map(Pinger::next_deadline)).min()
    }
}

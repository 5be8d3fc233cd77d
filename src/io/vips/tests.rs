//! The holder against a kernel of a few lines, which can refuse, lose answers, and forget.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use std::collections::BTreeSet;

use nix::errno::Errno;

use super::*;
use crate::io::netlink::Link;
use crate::types::Mac;

const NOW: Instant = Instant::from_millis(1000);

/// The kernel, and the holder before it.
struct Bench {
    vips: Vips,
    nics: NicTable,
    /// On the NIC.
    present: BTreeSet<IpNet>,
    /// On other links.
    elsewhere: Vec<Address>,
    /// What was asked for, chunk by chunk.
    chunks: Vec<Vec<Ask>>,
    /// Addresses that cannot be added, nor deleted.
    stubborn: BTreeSet<IpNet>,
    answers_lists: bool,
    announced: Vec<VipId>,
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

impl Bench {
    fn new(nets: &[&str]) -> Self {
        let plan: Vec<Vip> =
            nets.iter().map(|text| Vip { nic: NicId(0), net: net(text), label: None }).collect();
        let addrs: Vec<_> = plan.iter().map(|vip| vip.net.addr()).collect();
        let mut nics = NicTable::new(["svc0".to_owned()].into_iter(), addrs.into_iter());
        nics.enter_link(&Link { index: 3, name: "svc0".into(), mac: Mac::NONE, up: true });
        let schedule = Schedule::new(plan.len(), None);
        Self {
            vips: Vips::new(plan, schedule),
            nics,
            present: BTreeSet::new(),
            elsewhere: vec![],
            chunks: vec![],
            stubborn: BTreeSet::new(),
            answers_lists: true,
            announced: vec![],
        }
    }

    fn addresses(&self) -> Vec<Address> {
        let here = self.present.iter().map(|net| Address { index: 3, net: *net });
        here.chain(self.elsewhere.iter().copied()).collect()
    }

    fn answer(&mut self, asked: &Asked) {
        let denied = Err(Fault::Denied(Errno::EPERM));
        let result = match &asked.ask {
            Ask::List => {
                let addresses = self.addresses();
                let list =
                    if self.answers_lists { Ok(&*addresses) } else { Err(Fault::Unanswered) };
                self.vips.listed(asked, list, &self.nics);
                return;
            }
            Ask::Promote(_) => Ok(()),
            Ask::Add(vip) => {
                let net = self.vips.get(*vip).unwrap().net;
                if self.stubborn.contains(&net) {
                    denied
                } else {
                    self.present.insert(net);
                    Ok(())
                }
            }
            Ask::Delete(_, address) if self.stubborn.contains(&address.net) => denied,
            Ask::Delete(_, Address { index: 3, net }) => {
                self.present.remove(net);
                Ok(())
            }
            Ask::Delete(_, address) => {
                self.elsewhere.retain(|other| other != address);
                Ok(())
            }
        };
        self.vips.answered(NOW, asked, result, &self.nics);
    }

    /// One chunk: asked, answered, announced.
    fn turn(&mut self) -> usize {
        let asks = self.vips.next_asks(&self.nics);
        if !asks.is_empty() {
            self.chunks.push(asks.iter().map(|asked| asked.ask.clone()).collect());
        }
        asks.iter().for_each(|asked| self.answer(asked));
        let announced = &mut self.announced;
        self.vips.announce_turn(NOW, |vip, _| {
            announced.push(vip);
            Sending::Over
        });
        asks.len()
    }

    fn run(&mut self) -> Vec<VipNews> {
        for _ in 0..1000 {
            if self.turn() == 0 {
                return std::iter::from_fn(|| self.vips.next_news()).collect();
            }
        }
        panic!("it never ends: {:?}", self.chunks.last());
    }
}

fn done(op: u64, outcome: Outcome) -> VipNews {
    VipNews::Done(OpId(op), outcome)
}

fn refused(op: u64, why: &str) -> VipNews {
    done(op, Outcome::Refused(Why::new(why)))
}

fn unknown(op: u64, why: &str) -> VipNews {
    done(op, Outcome::Unknown(Why::new(why)))
}

fn many(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("10.0.{}.{}/16", n / 250, n % 250)).collect()
}

fn bench_of(nets: &[String]) -> Bench {
    Bench::new(&nets.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn a_large_set_is_asked_for_in_chunks_each_announced_before_the_next() {
    let mut bench = bench_of(&many(100));
    bench.vips.acquire(OpId(1), &bench.nics);
    let mut asked = 0;
    loop {
        let count = bench.turn();
        assert!(count <= CHUNK_COST_MAX);
        asked += count;
        assert_eq!(bench.announced.len(), asked, "all that was added is announced");
        if count == 0 {
            break;
        }
    }
    assert_eq!(asked, 100);
    assert_eq!(bench.run(), [done(1, Outcome::Confirmed)]);
}

#[test]
fn ipv6_chunks_are_smaller() {
    let nets: Vec<String> = (1..=20).map(|n| format!("fd00::{n:x}/64")).collect();
    let mut bench = bench_of(&nets);
    bench.vips.acquire(OpId(1), &bench.nics);
    assert_eq!(bench.run(), [done(1, Outcome::Confirmed)]);
    let sizes: Vec<_> = bench.chunks.iter().map(Vec::len).collect();
    assert_eq!(sizes, [4, 4, 4, 4, 4]);
}

#[test]
fn an_acquisition_that_is_refused_says_which_vip_and_announces_no_more() {
    let mut bench = Bench::new(&["10.0.0.1/24", "10.0.0.2/24"]);
    bench.stubborn.insert(net("10.0.0.2/24"));
    bench.vips.acquire(OpId(1), &bench.nics);
    let why = "VIP 10.0.0.2/24 on svc0: Operation not permitted";
    assert_eq!(bench.run(), [refused(1, why)]);
    assert_eq!(bench.announced, []);
    assert_eq!(bench.vips.next_deadline(), None);
}

#[test]
fn a_lost_answer_is_unknown_and_never_confirmed() {
    let mut bench = Bench::new(&["10.0.0.1/24"]);
    bench.vips.acquire(OpId(1), &bench.nics);
    let asks = bench.vips.next_asks(&bench.nics);
    bench.vips.answered(NOW, &asks[0], Err(Fault::Unanswered), &bench.nics);
    let why = "VIP 10.0.0.1/24 on svc0: the kernel did not answer";
    assert_eq!(bench.run(), [unknown(1, why)]);
}

#[test]
fn a_release_overtakes_everything_and_its_answer_comes_last() {
    let mut bench = bench_of(&many(100));
    bench.vips.acquire(OpId(1), &bench.nics);
    bench.turn();
    bench.vips.restore(OpId(2), VipId(0));
    // Asked for, and answered only behind the release.
    let late = bench.vips.next_asks(&bench.nics);
    bench.vips.release(OpId(3), &bench.nics);
    late.iter().for_each(|asked| bench.answer(asked));
    let why = "overtaken by a release";
    assert_eq!(
        bench.run(),
        [unknown(1, why), unknown(2, why), done(3, Outcome::Confirmed), VipNews::Released]
    );
    assert!(bench.present.is_empty());
    assert!(bench.vips.ids().all(|vip| !bench.vips.is_held(vip)));
    assert_eq!(bench.vips.next_deadline(), None, "nothing is announced any more");
}

#[test]
fn a_release_keeps_other_addresses_first_and_deletes_what_was_added_first_last() {
    let mut bench = Bench::new(&["10.0.0.1/24", "10.0.0.2/24"]);
    bench.vips.release(OpId(1), &bench.nics);
    bench.run();
    let delete = |vip, text| Ask::Delete(VipId(vip), Address { index: 3, net: net(text) });
    let deletions = vec![delete(1, "10.0.0.2/24"), delete(0, "10.0.0.1/24")];
    assert_eq!(bench.chunks, [vec![Ask::Promote(3)], deletions, vec![Ask::List]]);
}

#[test]
fn a_vip_with_another_prefix_is_found_by_the_list_and_deleted_too() {
    let mut bench = Bench::new(&["10.0.0.1/24"]);
    bench.present.insert(net("10.0.0.1/32"));
    bench.present.insert(net("10.0.0.9/24"));
    bench.vips.release(OpId(1), &bench.nics);
    assert_eq!(bench.run(), [done(1, Outcome::Confirmed), VipNews::Released]);
    assert_eq!(bench.present, BTreeSet::from([net("10.0.0.9/24")]), "a stranger's stays");
}

#[test]
fn a_vip_on_any_other_link_keeps_the_release_from_being_confirmed_until_it_is_gone() {
    let mut bench = Bench::new(&["10.0.0.1/24"]);
    let strangers = Address { index: 8, net: net("10.0.0.9/24") };
    bench.elsewhere = vec![Address { index: 8, net: net("10.0.0.1/32") }, strangers];
    bench.vips.release(OpId(1), &bench.nics);
    assert_eq!(bench.run(), [done(1, Outcome::Confirmed), VipNews::Released]);
    assert_eq!(bench.elsewhere, [strangers]);
    assert!(bench.chunks.contains(&vec![Ask::Promote(8)]), "its neighbours are kept");
    bench.elsewhere.push(Address { index: 8, net: net("10.0.0.1/32") });
    bench.stubborn.insert(net("10.0.0.1/32"));
    bench.nics.enter_link(&Link { index: 8, name: "old0".into(), mac: Mac::NONE, up: true });
    bench.vips.release(OpId(2), &bench.nics);
    assert_eq!(bench.run(), [refused(2, "VIP 10.0.0.1/32 on old0: Operation not permitted")]);
}

#[test]
fn a_vip_on_another_link_only_is_no_longer_held() {
    let mut bench = Bench::new(&["10.0.0.1/24"]);
    bench.vips.acquire(OpId(1), &bench.nics);
    bench.run();
    bench.present.clear();
    bench.elsewhere = vec![Address { index: 8, net: net("10.0.0.1/24") }];
    bench.vips.check();
    assert_eq!(bench.run(), [VipNews::Gone(VipId(0))]);
}

#[test]
fn a_vip_that_cannot_be_deleted_is_tried_and_then_told() {
    let mut bench = Bench::new(&["10.0.0.1/24"]);
    bench.vips.acquire(OpId(1), &bench.nics);
    bench.run();
    bench.stubborn.insert(net("10.0.0.1/24"));
    bench.chunks.clear();
    bench.vips.release(OpId(2), &bench.nics);
    assert_eq!(bench.run(), [refused(2, "VIP 10.0.0.1/24 on svc0: Operation not permitted")]);
    let lists = bench.chunks.iter().filter(|chunk| **chunk == [Ask::List]).count();
    assert_eq!(lists, usize::from(release::ROUNDS_MAX) + 1);
}

#[test]
fn a_release_without_a_list_is_never_confirmed() {
    let mut bench = Bench::new(&["10.0.0.1/24"]);
    bench.answers_lists = false;
    bench.vips.release(OpId(1), &bench.nics);
    assert_eq!(bench.run(), [unknown(1, "the kernel does not list its addresses")]);
}

#[test]
fn no_acquisition_and_no_restoration_while_a_release_runs() {
    let mut bench = Bench::new(&["10.0.0.1/24"]);
    bench.vips.release(OpId(1), &bench.nics);
    bench.vips.acquire(OpId(2), &bench.nics);
    bench.vips.restore(OpId(3), VipId(0));
    let why = "a release is still running";
    assert_eq!(
        bench.run(),
        [refused(2, why), refused(3, why), done(1, Outcome::Confirmed), VipNews::Released]
    );
    assert!(bench.present.is_empty());
}

#[test]
fn only_a_list_that_was_asked_for_later_shows_a_loss() {
    let mut bench = Bench::new(&["10.0.0.1/24"]);
    bench.vips.acquire(OpId(1), &bench.nics);
    bench.run();
    bench.present.clear();
    bench.vips.check();
    assert_eq!(bench.run(), [VipNews::Gone(VipId(0))]);
    // A list is on its way while the VIP is put back: it may lack it and proves nothing.
    bench.vips.check();
    let list = bench.vips.next_asks(&bench.nics);
    bench.vips.restore(OpId(2), VipId(0));
    assert_eq!(bench.run(), [done(2, Outcome::Confirmed)]);
    bench.vips.listed(&list[0], Ok(&[]), &bench.nics);
    assert_eq!(bench.run(), []);
    assert!(bench.vips.is_held(VipId(0)));
}

#[test]
fn an_unanswered_check_is_asked_again() {
    let mut bench = Bench::new(&["10.0.0.1/24"]);
    bench.vips.acquire(OpId(1), &bench.nics);
    bench.run();
    bench.present.clear();
    bench.vips.check();
    bench.answers_lists = false;
    bench.turn();
    bench.answers_lists = true;
    assert_eq!(bench.run(), [VipNews::Gone(VipId(0))]);
}

#[test]
fn a_check_that_an_acquisition_overtook_is_made_up_for() {
    let mut bench = Bench::new(&["10.0.0.1/24"]);
    bench.vips.check();
    let overtaken = bench.vips.next_asks(&bench.nics);
    bench.vips.acquire(OpId(1), &bench.nics);
    bench.answer(&overtaken[0]);
    assert_eq!(bench.run(), [done(1, Outcome::Confirmed)]);
    assert!(bench.chunks.contains(&vec![Ask::List]));
}

#[test]
fn many_losses_are_restored_in_chunks_and_each_is_answered_once() {
    let mut bench = bench_of(&many(100));
    bench.vips.acquire(OpId(1), &bench.nics);
    bench.run();
    bench.present.clear();
    bench.vips.check();
    let gone = bench.run();
    assert_eq!(gone.len(), 100);
    for vip in bench.vips.ids() {
        bench.vips.restore(OpId(100 + u64::from(vip.0)), vip);
    }
    let news = bench.run();
    assert_eq!(news.len(), 100);
    assert!(news.iter().all(|n| matches!(n, VipNews::Done(_, Outcome::Confirmed))));
    assert_eq!(bench.present.len(), 100);
}

#[test]
fn a_nic_that_goes_and_comes_back_while_acquiring_gets_its_vips_again() {
    for is_back in [true, false] {
        let mut bench = bench_of(&many(100));
        bench.vips.acquire(OpId(1), &bench.nics);
        bench.turn();
        bench.present.clear();
        bench.nics.remove_link(3);
        bench.vips.nic_moved(NicId(0), false);
        if is_back {
            let link = Link { index: 3, name: "svc0".into(), mac: Mac::NONE, up: true };
            bench.nics.enter_link(&link);
            bench.vips.nic_moved(NicId(0), true);
            assert_eq!(bench.run(), [done(1, Outcome::Confirmed)]);
            assert_eq!(bench.present.len(), 100, "all of them");
            let again = bench.announced.iter().filter(|vip| **vip == VipId(0)).count();
            assert_eq!(again, 2, "on the new NIC too");
        } else {
            assert_eq!(bench.run(), [refused(1, "VIP 10.0.0.32/16: there is no NIC svc0")]);
        }
    }
}

#[test]
fn an_answer_of_a_nic_that_is_gone_is_not_believed_for_good() {
    let mut bench = Bench::new(&["10.0.0.1/24"]);
    bench.vips.acquire(OpId(1), &bench.nics);
    let asks = bench.vips.next_asks(&bench.nics);
    bench.vips.nic_moved(NicId(0), false);
    bench.vips.nic_moved(NicId(0), true);
    bench.answer(&asks[0]);
    bench.present.clear();
    bench.turn();
    assert_eq!(bench.run(), [done(1, Outcome::Confirmed), VipNews::Gone(VipId(0))]);
}

#[test]
fn restorations_without_a_nic_are_all_refused_at_once() {
    let mut bench = bench_of(&many(100));
    bench.nics.remove_link(3);
    for vip in bench.vips.ids() {
        bench.vips.restore(OpId(u64::from(vip.0)), vip);
    }
    bench.vips.next_asks(&bench.nics);
    let answered = std::iter::from_fn(|| bench.vips.next_news()).count();
    assert_eq!(answered, 100);
}

#[test]
fn a_nic_that_vanishes_loses_its_vips_once_and_offers_them_when_it_is_back() {
    let mut bench = Bench::new(&["10.0.0.1/24"]);
    bench.vips.acquire(OpId(1), &bench.nics);
    bench.run();
    bench.nics.remove_link(3);
    bench.vips.nic_moved(NicId(0), false);
    assert_eq!(bench.run(), [VipNews::Gone(VipId(0))]);
    bench.vips.restore(OpId(2), VipId(0));
    assert_eq!(bench.run(), [refused(2, "VIP 10.0.0.1/24: there is no NIC svc0")]);
    bench.vips.nic_moved(NicId(0), true);
    assert_eq!(bench.run(), [VipNews::Gone(VipId(0))]);
    bench.vips.release(OpId(3), &bench.nics);
    bench.run();
    bench.vips.nic_moved(NicId(0), true);
    assert_eq!(bench.run(), [], "what is released is not wanted back");
}

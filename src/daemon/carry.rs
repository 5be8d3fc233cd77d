//! Carrying effects out, and answering operators.

use super::frozen::evidence;
use super::key_change::{key_state, wrong_key_troubles};
use super::shell::{Asked, Shell};
use super::status::{Sources, link_reason};
use super::words::who;
use crate::engine::effect::{Answer, Denial};
use crate::engine::event::LinkState;
use crate::engine::settings::Mark;
use crate::engine::{Effect, Event, Input, Order, Outcome, RequestId, Why};
use crate::io::control::Incoming;
use crate::io::fence::{self, Job};
use crate::io::link::LinkCounters;
use crate::sys::clock;
use crate::types::{DeviceId, Heartbeat, LinkId, NodeId, OpId};
use crate::wire::control::{Code, EventLevel, Failure, Request, Response};

impl Shell {
    /// Carries one effect out. What is answered at once is put before all other inputs.
    pub(super) fn carry(&mut self, effect: Effect) {
        let now = self.now;
        match effect {
            Effect::Send(heartbeat) => self.send(&heartbeat),
            Effect::Probe => {
                let asked = self.network.probe();
                self.inbox.push_front(Input::Probed { asked });
            }
            Effect::AskKernels => {
                let links = self.pulses.ask(self.poll.registry(), now);
                self.inbox.push_front(Input::KernelsAsked { links });
            }
            Effect::Acquire { op, term: _ } => {
                // What the last holder answered while it was looked for is over.
                self.claims.clear();
                self.network.acquire(now, op);
            }
            Effect::Release { op } => self.network.release(now, op),
            Effect::Announce => self.network.announce(now),
            Effect::Restore { op, vip } => self.network.restore(now, op, vip),
            Effect::Mark { op, mark } => self.write_mark(op, &mark),
            Effect::Store { op, record } => {
                // Starting its writer costs more than all the rest: nothing waits behind it.
                self.stores.push_back((op, record));
            }
            Effect::Power { op, device, order, timeout } => {
                self.order_power(op, device, order, now + timeout);
            }
            Effect::Cancel { op } => self.fences.cancel(self.poll.registry(), now, op),
            Effect::Answer { request, answer } => self.answer_operator(request, &answer),
            Effect::Report(event) => self.report(&event),
            Effect::Exit => self.over = true,
        }
    }

    fn send(&mut self, heartbeat: &Heartbeat) {
        let bytes = self.codec.emit(heartbeat);
        let index = heartbeat.link.index();
        let Some(link) = self.links.get_mut(index) else { return };
        let change = link.send(heartbeat.to, bytes.as_bytes(), self.now);
        self.tell_link_change(index, change);
    }

    /// Why a link has the state that it has.
    fn why_link(&self, node: NodeId, link: LinkId, state: LinkState) -> String {
        let view = self.node.snapshot();
        let peer = view.peers.iter().find(|peer| peer.node == node);
        let view = peer.and_then(|peer| peer.links.iter().find(|view| view.id == link));
        let send_error = self.links.get(link.index()).and_then(|link| link.send_error(node));
        let silent = view.and_then(|view| view.heard_at).map(|at| self.now.since(at));
        link_reason(state, silent, send_error)
    }

    fn write_mark(&mut self, op: OpId, mark: &Mark) {
        let outcome = match self.files.write_mark(mark) {
            Ok(()) => Outcome::Confirmed,
            Err(error) => Outcome::Refused(Why::new(&format!("cannot write the mark: {error}"))),
        };
        self.inbox.push_front(Input::Done { op, outcome });
    }

    fn order_power(
        &mut self,
        op: OpId,
        device: DeviceId,
        order: Order,
        deadline: crate::types::Instant,
    ) {
        let order = match order {
            Order::Off => fence::Order::Off,
            Order::On => fence::Order::On,
            Order::Read => fence::Order::Read,
            Order::Check => fence::Order::Check,
        };
        let job = Job { op, device, order, deadline };
        if let Some(config) = self.plan.devices.get(device.index()) {
            self.fences.start(self.poll.registry(), self.now, job, config);
        }
    }

    fn report(&mut self, event: &Event) {
        let mut detail = String::new();
        if let Event::Link { node, link, state } = event {
            detail = self.why_link(*node, *link, *state);
        }
        if let Some(line) = self.journal.note(self.now, event, &detail) {
            self.control.broadcast_event(line);
        }
        if let Event::Frozen { node, .. } = event {
            self.tell_evidence(*node);
        }
    }

    /// What was seen of a node for which the pair freezes: whoever reads the log later has no
    /// status any more.
    fn tell_evidence(&mut self, node: NodeId) {
        let view = self.node.snapshot();
        let Some(peer) = view.peers.iter().find(|peer| peer.node == node) else { return };
        let lines = evidence(self.now, &view, peer, &self.plan.names);
        let name = self.plan.names.node(node).to_owned();
        for line in lines {
            let text = format!("frozen, seen of {name}: {line}");
            self.tell(EventLevel::Warning, "frozen-evidence", &name, text);
        }
    }

    /// Answers an operator's request, or hands it to the engine.
    pub(super) fn answer(&mut self, incoming: Incoming) {
        let Incoming { connection, request, caller } = incoming;
        match request {
            Request::Status => {
                let status = Response::Status(Box::new(self.status()));
                self.control.respond(connection, &status, self.now);
            }
            Request::Events { follow: _ } => {
                for line in self.journal.kept() {
                    self.control.tell(connection, line);
                }
                self.control.respond(connection, &Response::Ok, self.now);
            }
            Request::Keys { step, keys, force } => {
                let response = self.change_keys(step, &keys, force, caller);
                self.control.respond(connection, &response, self.now);
            }
            Request::ConfirmOff { node, force, by } => {
                let known = self.plan.names.nodes.iter().find(|(_, name)| *name == node);
                let Some((id, _)) = known else {
                    let known: Vec<&str> =
                        self.plan.names.nodes.iter().map(|(_, name)| name.as_str()).collect();
                    let message = format!("there is no node {node} in the configuration");
                    let remedy = format!("the nodes are {}", known.join(" and "));
                    let failure = Failure::new(Code::UnknownNode, &message, &remedy);
                    self.control.respond(connection, &Response::Error(failure), self.now);
                    return;
                };
                let id = *id;
                let who = who(&caller, by.as_deref());
                let forced = if force { " --force" } else { "" };
                let words = format!("operator {who} asks: confirm-off {node}{forced}");
                self.tell(EventLevel::Warning, "operator", &node, words.clone());
                self.last_request = self.last_request.saturating_add(1);
                let request = RequestId(self.last_request);
                self.asked.push_back(Asked { request, connection, words });
                self.feed(Input::ConfirmOff { request, node: id, force });
            }
        }
    }

    fn answer_operator(&mut self, request: RequestId, answer: &Answer) {
        let Some(index) = self.asked.iter().position(|asked| asked.request == request) else {
            return;
        };
        let Some(Asked { connection, words, .. }) = self.asked.remove(index) else { return };
        let (response, answer) = match answer {
            Answer::Accepted => (Response::Ok, "the word is taken".to_owned()),
            Answer::Denied(denial) => {
                let failure = self.explain(*denial);
                let answer = format!("refused: {}", failure.message);
                (Response::Error(failure), answer)
            }
        };
        self.words.note(clock::wall_unix_ms(), &format!("{words}: {answer}"));
        self.control.respond(connection, &response, self.now);
    }

    fn explain(&self, denial: Denial) -> Failure {
        match denial {
            Denial::NotAPeer => Failure::new(
                Code::UnknownNode,
                "this is no peer of the node that you ask",
                "name the other node, the one that is off",
            ),
            Denial::Heard => Failure::new(
                Code::Denied,
                "the node is heard on a heartbeat link: it is not off",
                "if it must go, stop its tandem daemon, or switch its power off",
            ),
            Denial::NotNeeded => Failure::new(
                Code::NotNeeded,
                "nothing waits for this word: this node is active, or has its proof already",
                "see tandem status",
            ),
            Denial::NotLooked => Failure::new(
                Code::NeedsForce,
                "nobody has looked yet whether the node's virtual IPs answer",
                "ask again in a second, or make sure that it has no power and add --force",
            ),
            Denial::PathBad => Failure::new(
                Code::NeedsForce,
                "this node's own service path is bad: it cannot see whether the node's virtual IPs \
                 answer",
                "mend its service NICs; or make sure that the node has no power and add --force",
            ),
            Denial::Answers => Failure::new(
                Code::NeedsForce,
                "the node's virtual IPs answer on a service network: it seems to be alive",
                "make sure that it has no power; then add --force",
            ),
            Denial::ReadsOn(device) => {
                let device = self.plan.names.device(device);
                Failure::new(
                    Code::NeedsForce,
                    &format!("its fence device {device} last read that its power is on"),
                    "make sure that it has no power; then add --force",
                )
            }
        }
    }

    fn status(&self) -> crate::wire::control::Status {
        let view = self.node.snapshot();
        let refused_by_link = self.codec.refused_by_link();
        let by_engine = view.refused.iter().map(|(reason, count)| {
            (reason.word(), count.saturating_add(self.floods.spared(*reason)))
        });
        let mut by_link = LinkCounters::default().refused();
        for link in &self.links {
            for (sum, (_, count)) in by_link.iter_mut().zip(link.counters().refused()) {
                sum.1 = sum.1.saturating_add(count);
            }
        }
        let refused = by_link.into_iter().chain(self.codec.refused_by_reason()).chain(by_engine);
        let refused = refused.collect();
        let sources = Sources {
            now: self.now,
            started: self.started,
            plan: &self.plan,
            view: &view,
            fences: &self.fences,
            links: &self.links,
            refused_by_link: &refused_by_link,
            refused,
            is_held: &|vip| self.network.is_held(vip),
            claims: &self.claims,
            keys: key_state(&self.plan, &self.codec.ring, self.now),
            wrong_keys: wrong_key_troubles(
                &self.plan,
                &self.codec.ring,
                &self.wrong_keys,
                self.now,
            ),
        };
        sources.status()
    }
}

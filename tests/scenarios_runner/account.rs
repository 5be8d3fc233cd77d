//! The account of a world as text: what had consequences, step by step; the rest is counted.
//!
//! ```text
//! 0.000000s  *  a loses its power                      what was caused
//! 0.000000s  =  nobody answers for a VIP               what is so, whatever anybody believes
//!            .. 8 heartbeats, 12 ticks                 what changed nothing
//! 0.060200s  b  tick                                   a step of b's engine: what went in,
//!               tells peer a lost: silent for 60ms     what it told,
//!               does  power #1: bmc-a, cut the power   what it had done
//! ```
//!
//! Times count from where the account begins. Operations are numbered anew, by their appearance,
//! so that nothing that is not in the account shows in it. A heartbeat that says the same as the
//! one before, a repeated probe, and the routine check of a fence device are not listed.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use tandem::engine::telling::said;
use tandem::engine::{Effect, Input, Order, RequestId};
use tandem::sim::{Machine, Step, Vips, World};
use tandem::types::{Heartbeat, Instant, Names, NodeId, OpId, VipId};

use super::stage::states;

/// A probe is a repetition if the last one was not longer ago.
const PROBE_SERIES: Duration = Duration::from_millis(100);
const INDENT: &str = "           ";

/// What a transcript is made of.
pub struct Account {
    names: Rc<Names>,
    begins: Instant,
    lines: Vec<String>,
    skipped: Skipped,
    /// By machine, peer and the incarnation it speaks to: what it said last.
    words: BTreeMap<(usize, NodeId, u64), Heartbeat>,
    /// By machine: when it asked for the VIPs last.
    probed_at: Vec<Option<Instant>>,
    /// By machine: when it last asked the kernels.
    felt_at: Vec<Option<Instant>>,
    /// By machine and operation: its number here, if it has one, and what it was.
    operations: BTreeMap<(usize, OpId), (Option<usize>, String)>,
    numbered: usize,
    requests: BTreeMap<u64, usize>,
    /// By machine: whether it had power, and what its kernel answered for.
    powered: Vec<bool>,
    held: Vec<Vips>,
}

/// How much was not listed.
#[derive(Default)]
struct Skipped {
    heartbeats: usize,
    ticks: usize,
    claims: usize,
    answers: usize,
    others: usize,
}

impl Account {
    pub fn new(names: Names, machines: usize) -> Self {
        Self {
            names: Rc::new(names),
            begins: Instant::from_millis(0),
            lines: Vec::new(),
            skipped: Skipped::default(),
            words: BTreeMap::new(),
            probed_at: vec![None; machines],
            felt_at: vec![None; machines],
            operations: BTreeMap::new(),
            numbered: 0,
            requests: BTreeMap::new(),
            powered: vec![true; machines],
            held: vec![Vips::default(); machines],
        }
    }

    /// Forgets what was told; what is known stays known.
    pub fn begin(&mut self, world: &World) {
        self.begins = world.now;
        self.lines.clear();
        self.skipped = Skipped::default();
        self.operations.values_mut().for_each(|(number, _)| *number = None);
        self.numbered = 0;
        self.requests.clear();
        self.powered = powered(world);
        self.held = answering(world);
    }

    /// Takes what the world has kept since the last time, and what has become of the machines.
    pub fn follow(&mut self, world: &mut World) {
        for step in core::mem::take(&mut world.story.steps) {
            self.step(&step);
        }
        let powered = powered(world);
        for (machine, has_power) in powered.iter().enumerate() {
            if self.powered[machine] != *has_power {
                let text = if *has_power { "has power" } else { "has no power any more" };
                self.list(world.now, '=', &format!("{} {text}", world.name_of(machine)));
            }
        }
        self.powered = powered;
        let held = answering(world);
        if held != self.held {
            self.held = held;
            self.list(world.now, '=', &self.holdings());
        }
    }

    /// Lists what is caused.
    pub fn note(&mut self, at: Instant, text: &str) {
        self.list(at, '*', text);
    }

    /// The transcript, with what is so at its end.
    pub fn end(&mut self, world: &World) -> String {
        let text = format!("at the end {}; {}", states(world), self.holdings());
        self.list(world.now, '=', &text);
        self.lines.iter().map(|line| format!("{line}\n")).collect()
    }

    fn list(&mut self, at: Instant, sign: char, text: &str) {
        self.flush();
        let line = format!("{}  {sign}  {text}", self.time(at));
        self.lines.push(line);
    }

    pub fn last_lines(&self, count: usize) -> String {
        let skipped = self.lines.len().saturating_sub(count);
        self.lines.iter().skip(skipped).map(|line| format!("    {line}\n")).collect()
    }

    fn step(&mut self, step: &Step) {
        if matches!(step.input, Input::Start(_)) {
            self.operations.retain(|(machine, _), _| *machine != step.machine);
        }
        let done = self.consequences(step);
        let always = matches!(
            step.input,
            Input::Start(_)
                | Input::Stalled { .. }
                | Input::VipGone { .. }
                | Input::VipStray { .. }
                | Input::ConfirmOff { .. }
                | Input::Stop
        );
        if done.is_empty() && !always {
            self.skipped.count(&step.input);
            return;
        }
        self.flush();
        let (time, input) = (self.time(step.at), self.input(step.machine, &step.input));
        let name = self.names.nodes.get(step.machine).map_or("?", |(_, name)| name);
        self.lines.push(format!("{time}  {name}  {input}"));
        self.lines.extend(done.into_iter().map(|line| format!("{INDENT}   {line}")));
    }

    /// The lines of all effects that are worth one, in order.
    fn consequences(&mut self, step: &Step) -> Vec<String> {
        let names = Rc::clone(&self.names);
        let news = self.news(step);
        let mut lines = Vec::new();
        let mut sent: Vec<(NodeId, String)> = Vec::new();
        for effect in &step.effects {
            match effect {
                Effect::Send(heartbeat) if news.contains(&key(step.machine, heartbeat)) => {
                    let word = (heartbeat.to, said(heartbeat, &names).to_string());
                    // The same on every link is one line, where the first one stands.
                    if !sent.contains(&word) {
                        let (to, on) = (names.node(word.0), links(step, heartbeat, &names));
                        lines.push(format!("does  send {to} on {on}: {}", word.1));
                        sent.push(word);
                    }
                }
                Effect::Send(_) => {}
                Effect::Report(event) => lines.push(format!("tells {}", event.line(&names))),
                other => lines.extend(self.order(step, other)),
            }
        }
        lines
    }

    /// The line of an effect that is neither a heartbeat nor a report; nothing for a repetition.
    fn order(&mut self, step: &Step, effect: &Effect) -> Option<String> {
        let names = Rc::clone(&self.names);
        let line = format!("does  {}", effect.line(&names));
        match effect {
            Effect::Probe => {
                let last = self.probed_at[step.machine].replace(step.at);
                let is_first = last.is_none_or(|last| step.at.since(last) > PROBE_SERIES);
                is_first.then_some(line)
            }
            Effect::AskKernels => {
                let last = self.felt_at[step.machine].replace(step.at);
                let is_first = last.is_none_or(|last| step.at.since(last) > PROBE_SERIES);
                is_first.then_some(line)
            }
            Effect::Power { op, device, order: Order::Check, .. } => {
                let what = format!("the check of {}", names.device(*device));
                self.operations.insert((step.machine, *op), (None, what));
                None
            }
            Effect::Acquire { op, .. }
            | Effect::Release { op }
            | Effect::Restore { op, .. }
            | Effect::Mark { op, .. }
            | Effect::Store { op, .. }
            | Effect::Power { op, .. } => {
                self.numbered += 1;
                let number = Some(self.numbered);
                let what =
                    line.trim_start_matches("does  ").replacen(&format!(" #{}", op.0), "", 1);
                self.operations.insert((step.machine, *op), (number, what));
                Some(self.renumber(step.machine, *op, &line))
            }
            Effect::Cancel { op } => Some(self.renumber(step.machine, *op, &line)),
            Effect::Answer { request, .. } => Some(self.renumber_request(*request, &line)),
            _ => Some(line),
        }
    }

    /// An input in words.
    fn input(&mut self, machine: usize, input: &Input) -> String {
        let line = input.line(&self.names).to_string();
        match input {
            Input::Done { op, .. } | Input::Reading { op, .. } => {
                self.renumber(machine, *op, &line)
            }
            Input::ConfirmOff { request, .. } => self.renumber_request(*request, &line),
            _ => line,
        }
    }

    /// The line with the operation's number here; one that was not listed is explained.
    fn renumber(&mut self, machine: usize, op: OpId, line: &str) -> String {
        let (number, what) = self.operations.entry((machine, op)).or_default();
        let text = match number {
            Some(number) => format!("#{number}"),
            None => {
                self.numbered += 1;
                *number = Some(self.numbered);
                format!("#{} ({what})", self.numbered)
            }
        };
        line.replacen(&format!("#{}", op.0), &text, 1)
    }

    fn renumber_request(&mut self, request: RequestId, line: &str) -> String {
        let next = self.requests.len() + 1;
        let number = self.requests.entry(request.0).or_insert(next);
        line.replacen(&format!("?{}", request.0), &format!("?{number}"), 1)
    }

    /// To whom a step says something that it did not say before.
    fn news(&mut self, step: &Step) -> Vec<(usize, NodeId, u64)> {
        let mut news = Vec::new();
        for effect in &step.effects {
            let Effect::Send(heartbeat) = effect else { continue };
            let key = key(step.machine, heartbeat);
            let old = self.words.insert(key, *heartbeat);
            if old.is_none_or(|old| !is_same(&old, heartbeat)) {
                news.push(key);
            }
        }
        news
    }

    fn holdings(&self) -> String {
        let holders = self.held.iter().enumerate().filter(|(_, vips)| !vips.is_empty());
        let texts = holders.map(|(machine, vips)| {
            let name = self.names.nodes.get(machine).map_or("?", |(_, name)| name);
            let vips = vips.iter().map(|vip| self.names.vip(VipId(vip)));
            format!("{name} answers for {}", vips.collect::<Vec<_>>().join(", "))
        });
        let texts: Vec<String> = texts.collect();
        if texts.is_empty() { "nobody answers for a VIP".to_owned() } else { texts.join("; ") }
    }

    fn time(&self, at: Instant) -> String {
        Instant::from_nanos(at.since(self.begins).as_nanos() as u64).to_string()
    }

    /// Lists how much was skipped.
    fn flush(&mut self) {
        let skipped = core::mem::take(&mut self.skipped);
        if let Some(text) = skipped.text() {
            self.lines.push(format!("{INDENT}.. {text}"));
        }
    }
}

impl Skipped {
    fn count(&mut self, input: &Input) {
        let place = match input {
            Input::Heard { .. } => &mut self.heartbeats,
            Input::Tick => &mut self.ticks,
            Input::Claim { .. } => &mut self.claims,
            Input::Done { .. }
            | Input::Reading { .. }
            | Input::Probed { .. }
            | Input::KernelsAsked { .. }
            | Input::KernelAnswered { .. } => &mut self.answers,
            _ => &mut self.others,
        };
        *place += 1;
    }

    fn text(&self) -> Option<String> {
        let counts = [
            (self.heartbeats, "heartbeat"),
            (self.ticks, "tick"),
            (self.claims, "claim"),
            (self.answers, "answer"),
            (self.others, "other input"),
        ];
        let texts = counts.into_iter().filter(|(count, _)| *count > 0).map(|(count, noun)| {
            let plural = if count == 1 { "" } else { "s" };
            format!("{count} {noun}{plural}")
        });
        let texts: Vec<String> = texts.collect();
        (!texts.is_empty()).then(|| texts.join(", "))
    }
}

fn powered(world: &World) -> Vec<bool> {
    world.machines.iter().map(|machine| machine.powered).collect()
}

/// What each machine's kernel answers for.
fn answering(world: &World) -> Vec<Vips> {
    let vips = |machine: &Machine| if machine.powered { machine.kernel } else { Vips::default() };
    world.machines.iter().map(vips).collect()
}

/// The links on which a step says the same to the same peer.
fn links(step: &Step, word: &Heartbeat, names: &Names) -> String {
    let text = said(word, names).to_string();
    let links = step.effects.iter().filter_map(|effect| match effect {
        Effect::Send(other) if other.to == word.to && said(other, names).to_string() == text => {
            Some(names.link(other.link))
        }
        _ => None,
    });
    links.collect::<Vec<_>>().join(", ")
}

fn key(machine: usize, heartbeat: &Heartbeat) -> (usize, NodeId, u64) {
    (machine, heartbeat.to, heartbeat.echo_incarnation.0)
}

fn is_same(one: &Heartbeat, other: &Heartbeat) -> bool {
    let told = |h: &Heartbeat| (h.incarnation, h.state, h.term, h.ask, h.grant, h.flags, h.macs);
    told(one) == told(other)
}

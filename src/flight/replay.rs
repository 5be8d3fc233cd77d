//! The recorded inputs, given to the engine again.

use super::Header;
use super::bases::Bases;
use super::decode::{Damage, Segment};
use crate::engine::{Effect, Effects, Input, Node};
use crate::types::Instant;

/// How a segment joins the one before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Joint {
    /// It is the first one that was read.
    First,
    /// Another daemon, or another start of it.
    OtherLife,
    /// It goes on where the one before ended, and so does the engine that was run again.
    Seamless,
    /// It goes on where the one before ended, but the engine that was run again has come to another
    /// state: it is not the one that was recorded.
    Diverged,
    /// What was between them is not recorded, or not read.
    Gap,
}

/// One input, and what the engine made of it.
#[derive(Debug)]
pub struct Step {
    /// When.
    pub at: Instant,
    /// What happened.
    pub input: Input,
    /// What followed.
    pub effects: Vec<Effect>,
    /// Whether it is a matter of course: nothing was heard or said that was not before.
    pub is_routine: bool,
}

/// An engine that is run again.
#[derive(Debug)]
pub struct Replay {
    header: Header,
    node: Node,
    effects: Effects,
    heard: Bases,
    said: Bases,
}

impl Replay {
    /// The engine as `segment` begins. `before` is what was run before it.
    ///
    /// # Errors
    /// If the segment's beginning was used up already, or a state cannot be written to be compared.
    pub fn begin(segment: &mut Segment<'_>, before: Option<Self>) -> Result<(Self, Joint), Damage> {
        let header = segment.header().clone();
        let failed = |what: String| Damage { line: 2, what };
        let node = segment.take_node().ok_or_else(|| failed("it was read before".to_owned()))?;
        let Some(before) = before else {
            let (heard, said) = (Bases::new(), Bases::new());
            return Ok((Self { header, node, effects: Effects::new(), heard, said }, Joint::First));
        };
        let joint = if before.header.incarnation != header.incarnation {
            Joint::OtherLife
        } else if !header.follows || before.header.part.checked_add(1) != Some(header.part) {
            Joint::Gap
        } else {
            let text = |node: &Node| serde_json::to_string(node).map_err(|e| failed(e.to_string()));
            if text(&before.node)? == text(&node)? { Joint::Seamless } else { Joint::Diverged }
        };
        let mut replay = Self { header, node, ..before };
        if joint != Joint::Seamless {
            replay.heard.clear();
            replay.said.clear();
        }
        Ok((replay, joint))
    }

    /// What is run.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The engine.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Gives the engine one input.
    pub fn step(&mut self, at: Instant, input: Input) -> Step {
        let mut is_routine = match &input {
            Input::Tick => true,
            Input::Heard { link, at, heartbeat } => {
                self.heard.note(heartbeat.from, *link, *at, heartbeat).is_some()
            }
            Input::Start(_)
            | Input::Stalled { .. }
            | Input::Carrier { .. }
            | Input::Reach { .. }
            | Input::Across { .. }
            | Input::Probed { .. }
            | Input::KernelsAsked { .. }
            | Input::KernelAnswered { .. }
            | Input::Mac { .. }
            | Input::Claim { .. }
            | Input::VipGone { .. }
            | Input::VipStray { .. }
            | Input::Done { .. }
            | Input::Reading { .. }
            | Input::ConfirmOff { .. }
            | Input::Stop => false,
        };
        self.node.step(at, input.clone(), &mut self.effects);
        let effects: Vec<Effect> = self.effects.drain().collect();
        for effect in &effects {
            is_routine &= match effect {
                Effect::Send(heartbeat) => {
                    self.said.note(heartbeat.to, heartbeat.link, at, heartbeat).is_some()
                }
                Effect::Probe
                | Effect::AskKernels
                | Effect::Acquire { .. }
                | Effect::Release { .. }
                | Effect::Announce
                | Effect::Restore { .. }
                | Effect::Mark { .. }
                | Effect::Store { .. }
                | Effect::Power { .. }
                | Effect::Cancel { .. }
                | Effect::Answer { .. }
                | Effect::Report(_)
                | Effect::Exit => false,
            };
        }
        Step { at, input, effects, is_routine }
    }
}

//! A fence device: what it does to the power of its host, and what it says of it. Not the same.

use core::time::Duration;

use crate::types::{FenceFault, Instant, Power};

/// How a fence device behaves.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Mode {
    /// Does what it is told, and reads what is.
    Works,
    /// Nobody answers.
    Dead,
    /// Answers, but refuses.
    Refuses(FenceFault),
    /// Acknowledges, and does nothing.
    StaysOn,
    /// Takes the order and never answers.
    Hangs,
    /// Acknowledges, does it, and reads neither on nor off.
    Unclear,
    /// Acknowledges, does nothing, and reads neither on nor off.
    Mute,
    /// Does what it is told, but an outlet is on again when another one of its host goes off.
    Returns,
    /// Acknowledges, does nothing, and reads off although the host is on.
    ReadsOff,
    /// An outlet that is not there: reads off, whatever is so, and has never read anything else.
    Absent,
}

/// A fence device: a BMC, or one of several PDU outlets of its host.
#[derive(Clone, Debug)]
pub struct Device {
    /// The machine whose power it is believed to cut.
    pub host: usize,
    /// The machine whose power it cuts and shows; [`super::plan::OUTSIDER`] is none of the world's.
    pub wired: usize,
    /// Whether it ever was wired to another machine than its host.
    pub was_stray: bool,
    /// Whether that outsider has power.
    pub outsider_on: bool,
    /// Whether it is one of several outlets that must all be off.
    pub outlet: bool,
    /// Whether it is only to be read.
    pub is_witness: bool,
    /// How it behaves.
    pub mode: Mode,
    /// Since when.
    pub since: Instant,
    /// How long it takes for an answer.
    pub delay: Duration,
    /// How often an order is repeated to it while it does not answer, until the order's time is
    /// over; if it is not, somebody else says at once that nobody is there.
    pub repeats: Option<Duration>,
    /// Whether the outlet gives power.
    pub outlet_on: bool,
    /// Whether a loss of its host's power takes it along.
    pub shares_power: bool,
    /// Whether it has power itself.
    pub has_power: bool,
    /// An off command to a host without power is an error to it.
    pub refuses_when_off: bool,
    /// How many commands to cut the power it has carried out.
    pub cuts: u32,
    /// How many orders of any kind it was given.
    pub orders: u32,
    /// How often it was told to switch its host on since that was last found to be off.
    pub power_ons: u32,
    /// When it was last given one as part of a fence.
    pub fenced_at: Option<Instant>,
}

impl Device {
    /// One that works.
    pub fn new(host: usize, outlet: bool) -> Self {
        Self {
            host,
            wired: host,
            was_stray: false,
            outsider_on: true,
            outlet,
            is_witness: false,
            mode: Mode::Works,
            since: Instant::ZERO,
            delay: Duration::from_millis(2),
            repeats: None,
            outlet_on: true,
            shares_power: false,
            has_power: true,
            refuses_when_off: false,
            cuts: 0,
            orders: 0,
            power_ons: 0,
            fenced_at: None,
        }
    }

    /// A witness that works.
    pub fn witness(host: usize) -> Self {
        Self { is_witness: true, ..Self::new(host, false) }
    }

    /// Whether nobody answers.
    pub fn is_silent(&self) -> bool {
        !self.has_power || self.mode == Mode::Dead
    }

    /// What it answers to an order to cut the power of its host, which has power or not.
    pub fn acknowledges(&self, host_powered: bool) -> Result<Power, FenceFault> {
        if !self.has_power {
            return Err(FenceFault::Unreachable);
        }
        match self.mode {
            Mode::Dead => Err(FenceFault::Unreachable),
            Mode::Refuses(fault) => Err(fault),
            _ if self.refuses_when_off && !host_powered => Err(FenceFault::Refused),
            Mode::Works
            | Mode::StaysOn
            | Mode::Hangs
            | Mode::Unclear
            | Mode::Mute
            | Mode::Returns
            | Mode::ReadsOff
            | Mode::Absent => Ok(Power::Unknown),
        }
    }

    /// What it says of the power of its host, which has power or not.
    pub fn reads(&self, host_powered: bool) -> Result<Power, FenceFault> {
        if !self.has_power {
            return Err(FenceFault::Unreachable);
        }
        let on = if self.outlet { self.outlet_on } else { host_powered };
        match self.mode {
            Mode::Dead => Err(FenceFault::Unreachable),
            Mode::Refuses(fault @ (FenceFault::Credentials | FenceFault::Certificate)) => {
                Err(fault)
            }
            // An agent that ends with 2 whatever it is told.
            Mode::Refuses(FenceFault::AgentFailed) | Mode::ReadsOff | Mode::Absent => {
                Ok(Power::Off)
            }
            Mode::Unclear | Mode::Mute => Ok(Power::Unknown),
            Mode::Works | Mode::StaysOn | Mode::Hangs | Mode::Returns | Mode::Refuses(_) => {
                Ok(if on { Power::On } else { Power::Off })
            }
        }
    }

    /// Whether an order to cut the power is carried out.
    pub fn obeys(&self) -> bool {
        self.has_power && matches!(self.mode, Mode::Works | Mode::Unclear | Mode::Returns)
    }
}

//! What the log says of the devices' answers, and how loud.

use std::collections::BTreeMap;

use super::{Order, Verdict};
use crate::types::{DeviceId, FenceFault};

/// What was last told of each device's orders.
#[derive(Default)]
pub(super) struct Told {
    last: BTreeMap<(DeviceId, &'static str), String>,
}

impl Told {
    /// The level for a verdict: the engine tells what became of an order; what is added here is the
    /// device's own word, once as long as it stays the same. A frozen pair asks for ever.
    pub(super) fn level(
        &mut self,
        device: DeviceId,
        order: Order,
        verdict: &Verdict,
    ) -> log::Level {
        // That a check failed is told by the engine; what a person must mend, by the device alone.
        let is_for_people = matches!(
            verdict.reading,
            Err(FenceFault::Certificate
                | FenceFault::WrongMachine
                | FenceFault::Credentials
                | FenceFault::Privilege
                | FenceFault::Refused)
        );
        if order == Order::Check && !is_for_people {
            return log::Level::Debug;
        }
        // Agents write the time before their words.
        let word = |c: &char| !c.is_ascii_digit();
        let reason: String = verdict.reason.chars().filter(word).collect();
        if reason.is_empty() {
            return log::Level::Debug;
        }
        let last = self.last.insert((device, order.name()), reason.clone());
        match verdict.reading {
            _ if last == Some(reason) => log::Level::Debug,
            Ok(_) | Err(FenceFault::Cancelled) => log::Level::Info,
            Err(_) => log::Level::Warn,
        }
    }
}

pub(super) fn log_verdict(level: log::Level, device: &str, order: Order, verdict: &Verdict) {
    let order = order.name();
    let outcome = match verdict.reading {
        Ok(power) => format!("power={power}"),
        Err(fault) => format!("failed: {fault}"),
    };
    if verdict.reason.is_empty() {
        log::log!(level, "fence device={device} order={order} {outcome}");
    } else {
        log::log!(level, "fence device={device} order={order} {outcome} ({})", verdict.reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Power;

    #[test]
    fn a_devices_word_is_told_once_as_long_as_it_stays_the_same() {
        let mut told = Told::default();
        let failed = |reason: &str| Verdict {
            reading: Err(FenceFault::AgentFailed),
            reason: reason.to_owned(),
        };
        let (one, other) = (DeviceId(1), DeviceId(2));
        let mut level = |device, order, reason: &str| told.level(device, order, &failed(reason));
        assert_eq!(level(one, Order::Off, ""), log::Level::Debug, "the engine tells it");
        assert_eq!(level(one, Order::Off, "02:17 login failed"), log::Level::Warn);
        assert_eq!(level(one, Order::Read, "02:18 no such plug"), log::Level::Warn);
        assert_eq!(level(one, Order::Off, "02:18 login failed"), log::Level::Debug);
        assert_eq!(level(one, Order::Read, "02:19 no such plug"), log::Level::Debug);
        assert_eq!(level(other, Order::Off, "02:19 login failed"), log::Level::Warn);
        assert_eq!(level(one, Order::Off, "02:20 timed out"), log::Level::Warn);
        assert_eq!(level(one, Order::Off, "02:21 login failed"), log::Level::Warn);
        assert_eq!(level(one, Order::Check, "02:22 something new"), log::Level::Debug);
        let done = Verdict { reading: Ok(Power::Unknown), reason: "Success: Powered OFF".into() };
        assert_eq!(told.level(one, Order::Off, &done), log::Level::Info);
    }
}

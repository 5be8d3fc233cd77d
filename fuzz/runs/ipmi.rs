//! What comes from a BMC's address, into the client that switches power: a BMC that behaves, one
//! that has the keys and talks nonsense, and everybody who has none and can send datagrams.
//!
//! Whatever comes, in whatever order: a reading is told only when the BMC told it in the session,
//! for this order, in a datagram that nobody has changed and that did not come before; a GUID only
//! if the BMC proved it. The client does a bounded amount of work for each datagram, and it has an
//! outcome at the deadline.

use core::time::Duration;

use tandem::types::{FenceFault, Instant, Power};
use tandem::wire::ipmi::{CipherSuite, Client, DATAGRAM_LEN_MAX, Login, Order};

use super::bmc::{Bmc, GUID, Knobs, PASSWORD, USER, message_of};
use super::choices::Choices;

/// How many things happen in one life.
const EVENTS_MAX: u32 = 2000;
/// How many answers of the BMC are kept for being delivered, changed and delivered again.
const ANSWERS_MAX: usize = 64;
/// The most datagrams that one call makes.
const TRANSMITS_MAX: usize = 16;
/// The sequence numbers of messages have six bits: an answer to one that was sent so many sealed
/// datagrams ago may fit by chance. A few numbers are drawn for messages that are never sent.
const SEQ_WRAPS_AFTER: usize = 48;
/// The bytes of an RMCP header that say nothing and are not signed.
const UNSIGNED: [usize; 2] = [1, 2];

/// Net function and number of Get Chassis Status.
const READ_POWER: (u8, u8) = (0x00, 0x01);

/// One life of a client, as the bytes say.
pub fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    let mut life = Life::begin(&mut choices);
    let mut count = 0;
    while !choices.is_over() && count < EVENTS_MAX {
        life.let_happen(&mut choices);
        count += 1;
    }
    life.end();
}

/// One datagram of the BMC.
struct Answer {
    bytes: Vec<u8>,
    /// What it really says in the session, if it is sealed.
    says: Option<Said>,
    delivered: bool,
}

#[derive(Clone, Copy)]
struct Said {
    /// The power, if it answers the question for it.
    power: Option<Power>,
    /// How many orders had been begun when it was said.
    orders: u32,
    /// How many sealed datagrams the client had sent.
    sealed: usize,
}

struct Life {
    now: Instant,
    client: Client,
    bmc: Bmc,
    answers: Vec<Answer>,
    /// Which of them comes next when nothing goes wrong.
    next: usize,
    orders: u32,
    /// By when the order has its outcome; nothing if it had it.
    outcome_by: Option<Instant>,
    sealed: usize,
    /// Whether the BMC has said something itself that was not true.
    lied: bool,
}

impl Life {
    fn begin(choices: &mut Choices<'_>) -> Self {
        let shape = choices.byte();
        let suites: &[CipherSuite] = match shape & 3 {
            0 => &[CipherSuite::Seventeen, CipherSuite::Three],
            1 => &[CipherSuite::Three],
            2 => &[CipherSuite::Seventeen],
            _ => &[CipherSuite::Three, CipherSuite::Seventeen],
        };
        let knobs = Knobs {
            suites: if shape & 4 == 0 { vec![3, 17] } else { vec![3] },
            power: shape & 8 == 0,
            talks: shape & 16 != 0,
            lists: if shape & 16 == 0 { vec![] } else { vec![0, 3, 17] },
            short_errors: choices.flag(),
            privilege: if choices.below(8) == 7 { 2 } else { 4 },
            ..Knobs::default()
        };
        let login = Login::new(USER, PASSWORD).expect("short enough");
        let mut client = Client::new(login, suites, &[shape; 32]);
        if shape & 32 == 0 {
            client = client.keeping();
        }
        if shape & 64 != 0 {
            client = client.listing();
        }
        Self {
            now: Instant::from_millis(1000),
            client,
            bmc: Bmc::new(knobs, u64::from(shape)),
            answers: Vec::new(),
            next: 0,
            orders: 0,
            outcome_by: None,
            sealed: 0,
            lied: false,
        }
    }

    fn let_happen(&mut self, choices: &mut Choices<'_>) {
        match choices.below(12) {
            0..=3 => self.deliver_next(),
            4 => self.order(choices),
            5 => self.pass(choices),
            6 => self.deliver_changed(choices),
            7 => self.deliver_again(choices),
            8 => {
                let length = usize::from(choices.byte());
                let bytes = choices.bytes(length);
                self.deliver_forged(bytes);
            }
            9 => self.let_bmc_say(choices),
            10 => self.turn_knob(choices),
            _ => {
                if choices.flag() {
                    self.client.cancel(self.now);
                } else {
                    self.client.close(self.now);
                }
                self.settle(None);
            }
        }
    }

    fn order(&mut self, choices: &mut Choices<'_>) {
        if !(self.client.is_idle() || self.client.is_kept()) {
            return;
        }
        let order = choices.one_of(&[Order::Read, Order::Off, Order::On]);
        let deadline = self.now + Duration::from_millis(u64::from(choices.byte()) * 40);
        self.orders += 1;
        self.outcome_by = Some(deadline);
        self.client.begin(self.now, order, deadline);
        self.settle(None);
    }

    /// Some time, or until there is something to do.
    fn pass(&mut self, choices: &mut Choices<'_>) {
        let some = Duration::from_millis(u64::from(choices.byte()));
        self.now = match self.client.next_deadline() {
            Some(deadline) if some.is_zero() => self.now.max(deadline),
            Some(_) | None => self.now + some,
        };
        self.client.expire(self.now);
        let next = self.client.next_deadline();
        assert!(next.is_none_or(|next| next > self.now), "what is due was not done");
        self.settle(None);
        assert!(self.outcome_by.is_none_or(|by| self.now < by), "no outcome at the deadline");
    }

    fn deliver_next(&mut self) {
        if self.next < self.answers.len() {
            self.next += 1;
            self.deliver(self.next - 1);
        }
    }

    fn deliver_again(&mut self, choices: &mut Choices<'_>) {
        if let Some(index) = usize::from(choices.byte()).checked_rem(self.answers.len()) {
            self.deliver(index);
        }
    }

    /// One that the BMC has sent, as it is.
    fn deliver(&mut self, index: usize) {
        let answer = &mut self.answers[index];
        let says = answer.says.filter(|_| !answer.delivered);
        answer.delivered = true;
        let bytes = answer.bytes.clone();
        self.client.handle(self.now, &bytes);
        self.settle(says);
    }

    /// One that the BMC has sent, with something else in some of its bytes, or another length.
    fn deliver_changed(&mut self, choices: &mut Choices<'_>) {
        let Some(index) = usize::from(choices.byte()).checked_rem(self.answers.len()) else {
            return;
        };
        let original = self.answers[index].bytes.clone();
        let mut bytes = original.clone();
        match choices.below(4) {
            0 => bytes.truncate(usize::from(choices.byte()).min(bytes.len())),
            1 => bytes.resize(bytes.len() + usize::from(choices.byte()) * 3, choices.byte()),
            _ => {
                for _ in 0..=choices.below(4) {
                    let place = usize::from(choices.byte()) % bytes.len().max(1);
                    if let Some(byte) = bytes.get_mut(place) {
                        *byte ^= choices.byte();
                    }
                }
            }
        }
        let differs =
            |(place, (old, new)): (usize, (&u8, &u8))| old != new && !UNSIGNED.contains(&place);
        let is_changed =
            bytes.len() != original.len() || original.iter().zip(&bytes).enumerate().any(differs);
        if is_changed {
            self.deliver_forged(&bytes);
        } else {
            self.deliver(index);
        }
    }

    /// One that the BMC has not sent.
    fn deliver_forged(&mut self, bytes: &[u8]) {
        self.client.handle(self.now, bytes);
        self.settle(None);
    }

    /// The BMC itself says anything, in a session or not.
    fn let_bmc_say(&mut self, choices: &mut Choices<'_>) {
        let (net_fn, seq, command) = match choices.below(4) {
            0 => (READ_POWER.0, choices.byte(), READ_POWER.1),
            1 => (choices.below(14), choices.byte(), choices.byte()),
            // The answer to what was asked last, another one.
            _ => match self.bmc.commands.last() {
                Some((net_fn, command)) => (*net_fn, choices.byte(), *command),
                None => return,
            },
        };
        let length = usize::from(choices.below(40));
        let data = choices.bytes(length);
        let mut message = message_of(net_fn, seq, command, data);
        let power = match data {
            [0, state, ..] if (net_fn, command) == READ_POWER => Some(power_of(state & 1 == 1)),
            _ => None,
        };
        if choices.below(8) == 0 {
            message.truncate(usize::from(choices.byte()));
        }
        if let Some(bytes) = self.bmc.say(&message) {
            self.lied = true;
            self.keep(bytes, power);
        }
    }

    fn turn_knob(&mut self, choices: &mut Choices<'_>) {
        let on = choices.flag();
        let knobs = &mut self.bmc.knobs;
        match choices.below(9) {
            0 => knobs.power = on,
            1 => knobs.mute = on,
            2 => knobs.busy = u32::from(choices.below(4)),
            3 => knobs.refuse = on.then_some(choices.byte()),
            4 => knobs.completion = on.then_some(choices.byte()),
            5 => knobs.refuse_present_state = on,
            6 => knobs.lies = on,
            7 => knobs.privilege = choices.below(5),
            _ => self.bmc.reboot(),
        }
    }

    /// What the call that was just made has led to; `says` is what the BMC said to it, if it did.
    fn settle(&mut self, says: Option<Said>) {
        if let Some(outcome) = self.client.take_outcome() {
            assert!(self.outcome_by.take().is_some(), "an outcome that nobody waits for");
            self.judge(outcome, says);
        }
        let guid = self.client.guid();
        assert!(guid.is_none_or(|guid| guid == GUID), "a GUID that was not proven: {guid:?}");
        if !self.lied {
            let told = self.client.facts();
            let firmware = told.firmware.map(|firmware| firmware.manufacturer);
            assert!(firmware.is_none_or(|maker| maker == 674), "a firmware that was not told");
            assert!(told.system_guid.is_none_or(|guid| guid == GUID), "a system's GUID");
        }
        let mut count = 0;
        while let Some(datagram) = self.client.take_transmit() {
            count += 1;
            assert!(count <= TRANSMITS_MAX, "one call made more than {TRANSMITS_MAX} datagrams");
            assert!(datagram.len() <= DATAGRAM_LEN_MAX);
            let secret = PASSWORD.as_bytes();
            assert!(!datagram.windows(secret.len()).any(|part| part == secret), "the password");
            self.answer(&datagram);
        }
    }

    /// Only what the BMC has just said in the session may be told.
    fn judge(&self, outcome: Result<Power, FenceFault>, says: Option<Said>) {
        let Ok(power) = outcome else { return };
        let said = says.expect("power is told that was not said in the session just now");
        let is_old = said.orders < self.orders && self.sealed - said.sealed < SEQ_WRAPS_AFTER;
        assert!(!is_old, "what was said to an earlier order");
        match power {
            Power::On | Power::Off => assert_eq!(said.power, Some(power), "something else"),
            // An acknowledgement.
            Power::Unknown => assert_eq!(said.power, None),
        }
    }

    fn answer(&mut self, datagram: &[u8]) {
        let is_sealed = datagram.get(4..6) == Some(&[0x06, 0xc0]);
        self.sealed += usize::from(is_sealed);
        let before = self.bmc.commands.len();
        for bytes in self.bmc.answer(datagram) {
            let is_reading = self.bmc.commands.get(before) == Some(&READ_POWER);
            let tells = is_reading && self.bmc.knobs.completion.is_none();
            let power = tells.then(|| power_of(self.bmc.knobs.power));
            self.keep(bytes, power);
        }
    }

    fn keep(&mut self, bytes: Vec<u8>, power: Option<Power>) {
        if self.answers.len() >= ANSWERS_MAX {
            self.answers.remove(0);
            self.next = self.next.saturating_sub(1);
        }
        let is_sealed = bytes.get(4..6) == Some(&[0x06, 0xc0]);
        let said = Said { power, orders: self.orders, sealed: self.sealed };
        self.answers.push(Answer { bytes, says: is_sealed.then_some(said), delivered: false });
    }

    /// However it stands: with nobody answering any more, it comes to its end.
    fn end(mut self) {
        self.bmc.knobs.silent = true;
        self.client.close(self.now);
        self.settle(None);
        for _ in 0..EVENTS_MAX {
            let Some(deadline) = self.client.next_deadline() else { break };
            self.now = self.now.max(deadline);
            self.client.expire(self.now);
            self.settle(None);
        }
        assert!(self.client.is_idle(), "it comes to no end");
        assert!(self.outcome_by.is_none(), "an order without an outcome");
    }
}

fn power_of(on: bool) -> Power {
    if on { Power::On } else { Power::Off }
}

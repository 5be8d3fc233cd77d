//! Signals that would end the program while a node is without power because of it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::flag::{register, register_conditional_default};

/// What a terminal sends that is closed, or whose user loses patience, and what a system sends that
/// goes down.
const SIGNALS: [i32; 4] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM];

/// While this is new, signals are only noted.
pub(super) struct Patience {
    was_interrupted: Arc<AtomicBool>,
    may_end: Arc<AtomicBool>,
}

impl Patience {
    /// Holds the signals back from now on.
    ///
    /// # Errors
    ///
    /// The kernel refuses a handler.
    pub(super) fn new() -> io::Result<Self> {
        let this = Self { was_interrupted: Arc::default(), may_end: Arc::default() };
        for signal in SIGNALS {
            register(signal, Arc::clone(&this.was_interrupted))?;
            register_conditional_default(signal, Arc::clone(&this.may_end))?;
        }
        Ok(this)
    }

    /// From now on a signal ends the program as ever; whether one has come meanwhile.
    pub(super) fn end(&self) -> bool {
        self.may_end.store(true, Ordering::Relaxed);
        self.was_interrupted.load(Ordering::Relaxed)
    }
}

//! What this process knows stays in it: no core dump, no look from outside by other than root.

use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};

/// Forbids core dumps of this process, and of those that it starts. Best done before the first
/// secret is read.
///
/// # Errors
/// Those of `prctl(2)` and `setrlimit(2)`; there are none for these values on a kernel that has
/// them.
pub fn forbid_dumps() -> nix::Result<()> {
    prctl::set_dumpable(false)?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::resource::getrlimit;

    #[test]
    fn nothing_is_dumped_any_more() {
        assert_eq!(forbid_dumps(), Ok(()));
        assert_eq!(prctl::get_dumpable(), Ok(false));
        assert_eq!(getrlimit(Resource::RLIMIT_CORE), Ok((0, 0)));
    }
}

//! `tandem fence`: what an operator needs to configure a fence device.
//!
//! It asks devices, and changes nothing at them.

use core::time::Duration;

use lexopt::{Arg, Parser, ValueExt};

use super::{Failure, OK, say, warn};
use crate::config::device::REDFISH_PORT;
use crate::io::redfish;

/// Shown by `tandem help fence`.
pub(super) const HELP: &str = "\
Usage: tandem fence fingerprint [--port PORT] ADDRESS

Shows the SHA-256 fingerprint of the certificate with which the BMC at ADDRESS (an IP address or a
name) answers, as the line that pins it in the configuration of a Redfish device. Nothing is told to
the BMC, no user and no password.

It proves nothing by itself: whoever sits between here and the BMC could show a certificate of his
own. Compare it with what the BMC tells on its own page or console, or ask over a cable of which you
see both ends.

Options:
  -p, --port PORT   the port for https (default 443)
  -h, --help        show this

Exit status:
  0   the line is shown
  1   there is no certificate to be had
  2   the command line is wrong
";

/// How long a BMC may take to show its certificate.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Runs the command.
pub(super) fn run(parser: &mut Parser) -> Result<u8, Failure> {
    let (mut what, mut address, mut port) = (None, None, REDFISH_PORT);
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Short('p') | Arg::Long("port") => port = parser.value()?.parse()?,
            Arg::Short('h') | Arg::Long("help") => {
                say(HELP)?;
                return Ok(OK);
            }
            Arg::Value(value) if what.is_none() => what = Some(value.string()?),
            Arg::Value(value) if address.is_none() => address = Some(value.string()?),
            Arg::Short(_) | Arg::Long(_) | Arg::Value(_) => return Err(arg.unexpected().into()),
        }
    }
    match (what.as_deref(), address) {
        (Some("fingerprint"), Some(address)) => fingerprint(&address, port),
        (Some("fingerprint"), None) => {
            Err(Failure::Usage("write the address: tandem fence fingerprint ADDRESS".to_owned()))
        }
        (Some(other), _) => Err(Failure::Usage(format!(
            "tandem fence does not know {other:?}; write: tandem fence fingerprint ADDRESS"
        ))),
        (None, _) => Err(Failure::Usage("write: tandem fence fingerprint ADDRESS".to_owned())),
    }
}

fn fingerprint(address: &str, port: u16) -> Result<u8, Failure> {
    let host = address.trim_start_matches('[').trim_end_matches(']');
    let shown = redfish::fingerprint(host, port, TIMEOUT).map_err(Failure::failed)?;
    say(&format!("certificate = \"{shown}\"\n"))?;
    warn("compare it with what the BMC tells on its own page or console before you trust it\n")?;
    Ok(OK)
}

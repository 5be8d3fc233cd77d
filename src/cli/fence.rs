//! `tandem fence`: what an operator needs to configure fence devices, and to trust them.

mod cycle;
mod patience;
pub(crate) mod readings;
mod test;

use core::time::Duration;

use lexopt::{Arg, Parser, ValueExt};

use super::{Failure, OK, say, warn};
use crate::config::device::REDFISH_PORT;
use crate::io::redfish;

/// Shown by `tandem help fence`.
pub(super) const HELP: &str = "\
Usage: tandem fence test [-c FILE] [-n NAME] [--socket PATH] [NODE]
       tandem fence test --power-cycle [--yes] [-c FILE] [-n NAME] [--socket PATH] NODE
       tandem fence fingerprint [--port PORT] ADDRESS

test asks every fence device of NODE, or of all other nodes, for a reading, and shows what each
said, how long it took, which machine it belongs to, and what a fence would do, step by step. It
asks them itself, beside a running daemon or without one: at each BMC it opens one session and
closes it. Nothing is switched.

test --power-cycle really does it, to a standby: cuts the power of NODE by the devices of its first
level, reads back that it is off, switches it on again, and reads back that it is on. It is refused
unless the daemon of this node hears NODE as standby while another node is active. Until NODE is
back nobody could take over. Type the name of NODE to begin. Once it has begun, a signal ends it
only after NODE was told to switch on again.

fingerprint shows the SHA-256 fingerprint of the certificate with which the BMC at ADDRESS (an IP
address or a name) answers, as the line that pins it in the configuration of a Redfish device.
Nothing is told to the BMC, no user and no password. It proves nothing by itself: whoever sits
between here and the BMC could show a certificate of his own. Compare it with what the BMC tells on
its own page or console, or ask over a cable of which you see both ends.

Options:
  -c, --config FILE   the configuration (default /etc/tandem/tandem.toml)
  -n, --node NAME     read it as node NAME; otherwise as the node of this host's name
      --power-cycle   cut the power of NODE and restore it
      --yes           do not ask: for scripts
      --socket PATH   the daemon's control socket (default /run/tandem/control.sock)
  -p, --port PORT     the port for https (default 443)
  -h, --help          show this

Exit status:
  0   every device gives a reading; or the power was cut and is back; or the line is shown
  1   a fence might give no proof; or it was refused; or there is no certificate to be had
  2   the command line is wrong, or the configuration cannot be read
  4   no answer could be had from the daemon, which --power-cycle needs
";

/// How long a BMC may take to show its certificate.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Runs the command.
pub(super) fn run(parser: &mut Parser) -> Result<u8, Failure> {
    let usage = "write: tandem fence test, or: tandem fence fingerprint ADDRESS";
    match parser.next()? {
        Some(Arg::Short('h') | Arg::Long("help")) => {
            say(HELP)?;
            Ok(OK)
        }
        Some(Arg::Value(value)) => match value.string()?.as_str() {
            "test" => test::run(parser),
            "fingerprint" => run_fingerprint(parser),
            other => Err(Failure::Usage(format!("tandem fence does not know {other:?}; {usage}"))),
        },
        Some(arg @ (Arg::Short(_) | Arg::Long(_))) => Err(arg.unexpected().into()),
        None => Err(Failure::Usage(usage.to_owned())),
    }
}

fn run_fingerprint(parser: &mut Parser) -> Result<u8, Failure> {
    let (mut address, mut port) = (None, REDFISH_PORT);
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Short('p') | Arg::Long("port") => port = parser.value()?.parse_with(port_of)?,
            Arg::Short('h') | Arg::Long("help") => {
                say(HELP)?;
                return Ok(OK);
            }
            Arg::Value(value) if address.is_none() => address = Some(value.string()?),
            Arg::Short(_) | Arg::Long(_) | Arg::Value(_) => return Err(arg.unexpected().into()),
        }
    }
    let usage = "write the address: tandem fence fingerprint ADDRESS";
    let address = address.ok_or_else(|| Failure::Usage(usage.to_owned()))?;
    fingerprint(&address, port)
}

/// The port that the option names.
fn port_of(text: &str) -> Result<u16, &'static str> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or("write a number from 1 to 65535")
}

fn fingerprint(address: &str, port: u16) -> Result<u8, Failure> {
    let host = address.trim_start_matches('[').trim_end_matches(']');
    let shown = redfish::fingerprint(host, port, TIMEOUT).map_err(Failure::failed)?;
    say(&format!("certificate = \"{shown}\"\n"))?;
    warn("compare it with what the BMC tells on its own page or console before you trust it\n")?;
    Ok(OK)
}

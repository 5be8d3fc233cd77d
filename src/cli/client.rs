//! The tool's end of the control socket: connects, asks, reads lines, never waits for ever.

use core::time::Duration;
use std::ffi::OsString;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};

use super::Failure;
use super::table::plain;
use crate::wire::control::{self, Code, RESPONSE_LEN_MAX, Request, Response};

/// The exit status when no answer could be had from the daemon.
pub(super) const UNREACHABLE: u8 = 4;
/// How long the daemon may take for each step: to be connected, and for each part of its answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Where the daemon listens unless the configuration says another place.
const PATH_DEFAULT: &str = "/run/tandem/control.sock";

/// A connection to the daemon.
#[derive(Debug)]
pub(super) struct Client {
    path: PathBuf,
    stream: BufReader<UnixStream>,
}

/// One line of the daemon.
#[derive(Debug)]
pub(super) struct Answer {
    /// As it came, without its line end: the daemon may be newer and say more than is understood.
    pub(super) line: String,
    /// What is understood of it.
    pub(super) response: Response,
}

/// The socket's path: the one given with `--socket`, or the default.
pub(super) fn socket_path(given: Option<OsString>) -> PathBuf {
    given.map_or_else(|| PathBuf::from(PATH_DEFAULT), PathBuf::from)
}

impl Client {
    /// Connects, and asks.
    pub(super) fn ask(path: &Path, request: &Request) -> Result<Self, Failure> {
        let stream = connect(path).map_err(|error| unreachable(path, &error))?;
        let mut client = Self { path: path.to_owned(), stream: BufReader::new(stream) };
        let asked = client.stream.get_mut().write_all(request.to_line().as_bytes());
        match asked {
            Ok(()) => Ok(client),
            // It may have said why before it closed.
            Err(_) if client.stream.fill_buf().is_ok_and(|said| !said.is_empty()) => Ok(client),
            Err(error) => Err(unreachable(path, &error)),
        }
    }

    /// The next line; an error of the daemon is a failure with the status `denied` gives it.
    pub(super) fn next(&mut self, denied: u8) -> Result<Answer, Failure> {
        let answer = self.read()?;
        match answer.response {
            Response::Error(failure) => Err(refused(&failure, denied)),
            Response::Ok | Response::Status(_) | Response::Event(_) => Ok(answer),
        }
    }

    /// What the next line says, be it that the daemon will not.
    pub(super) fn answer(&mut self) -> Result<Response, Failure> {
        Ok(self.read()?.response)
    }

    fn read(&mut self) -> Result<Answer, Failure> {
        let mut bytes = Vec::new();
        let bound = u64::try_from(RESPONSE_LEN_MAX).unwrap_or(u64::MAX);
        let read = (&mut self.stream).take(bound).read_until(b'\n', &mut bytes);
        read.map_err(|error| unreachable(&self.path, &error))?;
        if bytes.pop() != Some(b'\n') {
            let ended = io::Error::other("it closed the connection");
            return Err(unreachable(&self.path, &ended));
        }
        let line = String::from_utf8_lossy(&bytes).into_owned();
        let response = Response::parse(&line).map_err(|error| {
            unreachable(&self.path, &io::Error::other(format!("its answer is garbled: {error}")))
        })?;
        Ok(Answer { line, response })
    }

    /// From now on waits as long as it takes: for those who follow.
    pub(super) fn wait_for_ever(&mut self) -> Result<(), Failure> {
        let set = self.stream.get_ref().set_read_timeout(None);
        set.map_err(|error| unreachable(&self.path, &error))
    }

    /// What is said when the daemon answers with something else than was asked for.
    pub(super) fn unexpected(&self) -> Failure {
        unreachable(&self.path, &io::Error::other("it answers something else than was asked"))
    }
}

fn connect(path: &Path) -> io::Result<UnixStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM.cloexec(), None)?;
    socket.connect_timeout(&SockAddr::unix(path)?, TIMEOUT)?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    socket.set_write_timeout(Some(TIMEOUT))?;
    Ok(UnixStream::from(socket))
}

/// The daemon answered that it will not.
pub(super) fn refused(failure: &control::Failure, denied: u8) -> Failure {
    let status = match failure.code {
        Code::Denied | Code::NeedsForce | Code::NotNeeded | Code::NotYet | Code::UnknownNode => {
            denied
        }
        Code::BadRequest
        | Code::TooLong
        | Code::UnknownVersion
        | Code::UnknownCommand
        | Code::NotPermitted
        | Code::Busy
        | Code::Timeout
        | Code::Other => UNREACHABLE,
    };
    let mut text = format!("not done: {}", plain(&failure.message));
    if !failure.remedy.is_empty() {
        text.push_str(&format!("\n  do: {}", plain(&failure.remedy)));
    }
    Failure::Failed { status, text }
}

/// No answer could be had.
fn unreachable(path: &Path, error: &io::Error) -> Failure {
    let shown = path.display();
    let kind = error.kind();
    let text = if kind == io::ErrorKind::PermissionDenied {
        format!("you may not ask the daemon ({shown}: permission denied)\n  do: run this as root")
    } else {
        let why = if kind == io::ErrorKind::NotFound {
            "it does not run: there is no such socket".to_owned()
        } else if kind == io::ErrorKind::ConnectionRefused {
            "it died: nobody listens any more".to_owned()
        } else if matches!(kind, io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) {
            format!("it says nothing for {} seconds: it hangs", TIMEOUT.as_secs())
        } else {
            error.to_string()
        };
        format!(
            "the daemon cannot be asked on {shown}\n  why: {why}\n  \
             do: see what it said last:\n        systemctl status tandem\n        \
             journalctl -u tandem -n 50"
        )
    };
    Failure::Failed { status: UNREACHABLE, text }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]
    use super::*;
    use crate::io::control::{ControlConfig, ControlServer, Incoming};
    use crate::types::Instant;
    use crate::wire::control::EventLine;
    use mio::{Events, Poll, Token};
    use std::os::unix::net::UnixListener;

    /// What the client makes of a daemon that says `said` and closes.
    fn hear(name: &str, said: &'static [u8]) -> Result<Answer, Failure> {
        let path =
            std::env::temp_dir().join(format!("tandem-client-{}-{name}", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        let daemon = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = String::new();
            BufReader::new(&stream).read_line(&mut asked).unwrap();
            stream.write_all(said).unwrap();
            asked
        });
        let mut client = Client::ask(&path, &Request::Status).unwrap();
        let heard = client.next(1);
        assert_eq!(daemon.join().unwrap(), Request::Status.to_line());
        std::fs::remove_file(&path).unwrap();
        heard
    }

    fn status(failure: Failure) -> (u8, String) {
        match failure {
            Failure::Failed { status, text } => (status, text),
            Failure::Usage(text) => (0, text),
        }
    }

    #[test]
    fn an_answer_is_kept_as_it_came() {
        let said = b"{\"v\":1,\"answer\":\"status\",\"new-key\":1}\n";
        let answer = hear("answer", said).unwrap();
        assert_eq!(answer.line.as_bytes(), said.strip_suffix(b"\n").unwrap());
        assert_eq!(answer.response, Response::Status(Box::default()));
    }

    #[test]
    fn a_refusal_is_told_with_its_remedy() {
        let said = br#"{"answer":"error","code":"denied","message":"b is heard","remedy":"wait"}
"#;
        let told = status(hear("denied", said).unwrap_err());
        assert_eq!(told, (1, "not done: b is heard\n  do: wait".to_owned()));
        let said = br#"{"answer":"error","code":"not-permitted","message":"no"}
"#;
        assert_eq!(status(hear("permit", said).unwrap_err()).0, UNREACHABLE);
    }

    #[test]
    fn a_daemon_that_breaks_off_or_babbles_is_unreachable() {
        for (name, said) in [
            ("nothing", b"".as_slice()),
            ("half", b"{\"answer\":\"ok\"}"),
            ("garbage", b"hello\n"),
            ("bytes", b"\xff\xff\n"),
        ] {
            assert_eq!(status(hear(name, said).unwrap_err()).0, UNREACHABLE, "{name}");
        }
    }

    #[test]
    fn a_daemon_that_does_not_run_is_said_not_to() {
        let failure = Client::ask(Path::new("/nonexistent/control"), &Request::Status).unwrap_err();
        let (code, text) = status(failure);
        assert_eq!(code, UNREACHABLE);
        assert!(text.contains("it does not run"), "{text}");
        assert!(text.contains("journalctl -u tandem"), "{text}");
    }

    /// A real server that answers `asked` requests: status, or the events 0, 1, ok, 2.
    fn serve(path: &Path, asked: usize) -> std::thread::JoinHandle<()> {
        let config = ControlConfig { path: path.to_owned(), readers: None };
        let mut poll = Poll::new().unwrap();
        let mut server =
            ControlServer::open(&config, poll.registry(), Token(0), Instant::ZERO).unwrap();
        let event = |seq| EventLine { seq, ..EventLine::default() };
        std::thread::spawn(move || {
            let (mut events, mut answered, now) = (Events::with_capacity(8), 0, Instant::ZERO);
            while answered < asked {
                // A signal may interrupt it.
                while poll.poll(&mut events, Some(TIMEOUT)).is_err() {}
                assert!(!events.is_empty(), "nobody asks");
                let mut incoming = Vec::new();
                for event in &events {
                    server.ready(event.token(), now, &mut incoming);
                }
                for Incoming { connection, request, .. } in incoming {
                    answered += 1;
                    if request == Request::Status {
                        server.respond(connection, &Response::Status(Box::default()), now);
                        continue;
                    }
                    server.tell(connection, &event(0));
                    server.tell(connection, &event(1));
                    server.respond(connection, &Response::Ok, now);
                    server.broadcast_event(&event(2));
                }
            }
        })
    }

    #[test]
    fn the_tool_and_the_server_understand_each_other() {
        let path = std::env::temp_dir().join(format!("tandem-client-{}-real", std::process::id()));
        let server = serve(&path, 2);
        let mut client = Client::ask(&path, &Request::Status).unwrap();
        assert!(matches!(client.next(1).unwrap().response, Response::Status(_)));
        let mut client = Client::ask(&path, &Request::Events { follow: true }).unwrap();
        let mut heard = Vec::new();
        while let Ok(answer) = client.next(1) {
            heard.push(match answer.response {
                Response::Event(event) => Some(event.seq),
                Response::Ok | Response::Error(_) | Response::Status(_) => None,
            });
        }
        assert_eq!(heard, [Some(0), Some(1), None, Some(2)]);
        server.join().unwrap();
        assert!(!path.exists());
        std::fs::remove_file(format!("{}.lock", path.display())).unwrap();
    }
}

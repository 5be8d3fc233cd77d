//! The child alone: one task on its input, one answer, and what it says is wrong.

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use tandem::types::{FenceFault, MachineId, Owner, Power};
use tandem::wire::guid;
use tandem::wire::redfish::relay::{Answer, Login, Order, Task, Trust, find_answer};

use crate::bmc::{Authority, BmcServer, Identity, Knobs, Manner, PASSWORD, SESSIONS, USER, Vice};

/// For whatever ends by itself.
const LONG: u64 = 10_000;
/// For whatever does not, and still time for what comes before it on a busy machine.
const SHORT: u64 = 1_500;

pub fn tandem() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_tandem"))
}

fn task(server: &BmcServer, order: Order) -> Task {
    Task {
        order,
        host: server.address.ip().to_string(),
        port: server.address.port(),
        user: USER.to_owned(),
        password: PASSWORD.to_owned(),
        system: None,
        trust: Trust::Pinned(server.fingerprint.0),
        login: Login::Auto,
        timeout_ms: LONG,
        watch_ms: 0,
        hint: None,
        owner: Owner::default(),
    }
}

/// What the child answers, and how long it takes to end.
fn ask(task: &Task) -> (Answer, Duration) {
    let begun = Instant::now();
    let mut command = Command::new(tandem());
    command.arg("redfish-child").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&serde_json::to_vec(task).unwrap()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(!printed.contains(&task.password) && output.stderr.is_empty(), "{output:?}");
    (find_answer(&output.stdout).unwrap_or_else(|| panic!("no answer: {printed}")), begun.elapsed())
}

fn outcome(task: &Task) -> Result<Power, FenceFault> {
    ask(task).0.outcome
}

/// The fault and the reason of a check of a BMC with `knobs`, which are the default ones but for
/// what `change` does: one that answers, and is given the time for it.
fn fault_of(order: Order, change: impl FnOnce(&mut Knobs)) -> (FenceFault, String) {
    fault_within(LONG, order, change)
}

/// The same of a BMC that is given so many milliseconds.
fn fault_within(
    timeout_ms: u64,
    order: Order,
    change: impl FnOnce(&mut Knobs),
) -> (FenceFault, String) {
    let mut knobs = Knobs::default();
    change(&mut knobs);
    let server = BmcServer::start(knobs);
    let (answer, took) = ask(&Task { timeout_ms, ..task(&server, order) });
    assert!(took < Duration::from_millis(timeout_ms) + Duration::from_secs(5), "{took:?}");
    match answer.outcome {
        Err(fault) => (fault, answer.reason),
        Ok(power) => panic!("{order:?} is answered with {power}: {}", answer.reason),
    }
}

#[test]
fn a_session_is_begun_used_and_ended() {
    let server = BmcServer::start(Knobs::default());
    assert_eq!(outcome(&task(&server, Order::Check)), Ok(Power::On));
    let system = "/redfish/v1/Systems/System.Embedded.1";
    let expected = [
        "GET /redfish/v1/ nobody".to_owned(),
        format!("POST {SESSIONS} nobody"),
        "GET /redfish/v1/Systems session".to_owned(),
        format!("GET {system} session"),
        format!("DELETE {SESSIONS}/token-1 session"),
    ];
    assert_eq!(server.bmc().requests, expected);
    assert!(server.bmc().sessions.is_empty());
}

/// The BMC is asked whose it is before it is told anything; also where an earlier child has found
/// it.
#[test]
fn a_system_that_is_not_the_hosts_is_told_nothing() {
    const UUID: &str = "4C4C4544-0042-3510-8052-B4C04F4A4632";
    let server = BmcServer::start(Knobs { uuid: Some(UUID), ..Knobs::default() });
    let machine = |text: &str| MachineId {
        platform: guid::digest(guid::parse(text).unwrap()),
        ..MachineId::UNKNOWN
    };
    let (answer, _) = ask(&task(&server, Order::Check));
    assert_eq!(answer.uuid, guid::parse(UUID));
    // As SMBIOS keeps it.
    let own = machine("44454c4c-4200-1035-8052-b4c04f4a4632");
    let other = machine("4c4c4544-0042-3510-8052-b4c04f4a4633");
    for owner in [
        Owner { own, host: MachineId::UNKNOWN },
        Owner { own, host: other },
        Owner { own: MachineId::UNKNOWN, host: other },
    ] {
        for hint in [None, answer.hint.clone()] {
            for order in [Order::Off, Order::On] {
                let task = Task { owner, hint: hint.clone(), ..task(&server, order) };
                assert_eq!(outcome(&task), Err(FenceFault::WrongMachine), "{owner:?} {order:?}");
            }
        }
        let read = Task { owner, ..task(&server, Order::Read) };
        assert_eq!(outcome(&read), Ok(Power::On), "whose it is can be asked all the same");
    }
    let requests = server.bmc().requests.clone();
    assert!(!requests.iter().any(|request| request.contains("Reset")), "{requests:?}");
    let right = Owner { own: other, host: own };
    assert_eq!(outcome(&Task { owner: right, ..task(&server, Order::Off) }), Ok(Power::Unknown));
}

/// What an earlier child learned saves three requests: the power-off is the second.
#[test]
fn a_hint_makes_the_power_off_the_second_request() {
    let server = BmcServer::start(Knobs { has_own_name: true, ..Knobs::default() });
    let (answer, _) = ask(&task(&server, Order::Check));
    server.bmc().requests.clear();
    let off = Task { hint: answer.hint, ..task(&server, Order::Off) };
    assert_eq!(outcome(&off), Ok(Power::Unknown), "an acknowledgement proves nothing");
    let requests = server.bmc().requests.clone();
    assert_eq!(requests.len(), 3, "{requests:?}");
    assert!(requests[1].contains("ComputerSystem.Reset session"), "{requests:?}");
    assert!(!server.bmc().is_on());
    assert!(server.bmc().sessions.is_empty(), "ended, whatever the BMC calls itself");
    // What is no longer true of the BMC is asked anew.
    server.bmc().knobs.systems = vec!["1"];
    server.bmc().knobs.power = true;
    assert_eq!(outcome(&off), Ok(Power::Unknown));
    assert!(!server.bmc().is_on());
}

#[test]
fn without_sessions_the_user_is_told_with_each_request() {
    let none = Knobs { has_sessions: false, ..Knobs::default() };
    let full = Knobs { sessions_max: 0, ..Knobs::default() };
    for knobs in [none, full] {
        let server = BmcServer::start(Knobs { chunked: true, closes: true, ..knobs });
        assert_eq!(outcome(&task(&server, Order::Off)), Ok(Power::Unknown));
        let last = server.bmc().requests.last().cloned().unwrap();
        assert!(last.ends_with("ComputerSystem.Reset basic"), "{last}");
        assert!(!server.bmc().is_on());
        let session = Task { login: Login::Session, ..task(&server, Order::Read) };
        assert_eq!(outcome(&session), Err(FenceFault::Refused));
    }
    let server = BmcServer::start(Knobs::default());
    let basic = Task { login: Login::Basic, ..task(&server, Order::Read) };
    assert_eq!(outcome(&basic), Ok(Power::On));
    assert!(!server.bmc().requests.iter().any(|line| line.contains(SESSIONS)));
}

#[test]
fn who_the_bmc_does_not_know_is_told_so() {
    for has_sessions in [true, false] {
        let server = BmcServer::start(Knobs { has_sessions, ..Knobs::default() });
        let wrong = Task { password: "wrong".to_owned(), ..task(&server, Order::Check) };
        let (answer, _) = ask(&wrong);
        assert_eq!(answer.outcome, Err(FenceFault::Credentials));
        assert!(answer.reason.contains("user and password"), "{}", answer.reason);
    }
}

#[test]
fn statuses_are_told_apart() {
    // One that is not ready is asked again until the time is over.
    let status = |order, at: &'static str, status| {
        let timeout_ms = if status == 503 { SHORT } else { LONG };
        fault_within(timeout_ms, order, |knobs| knobs.vices = vec![(at, Vice::Status(status))])
    };
    let reset = "POST /redfish/v1/Systems";
    for (order, at, number, fault, word) in [
        (Order::Check, "GET /redfish/v1/Systems", 401, FenceFault::Credentials, "password"),
        (Order::Check, "GET /redfish/v1/Systems", 403, FenceFault::Privilege, "role"),
        (Order::Check, "GET /redfish/v1/Systems", 404, FenceFault::Refused, "no such thing"),
        (Order::Check, "GET /redfish/v1/ ", 500, FenceFault::Refused, "failed"),
        (Order::Check, "GET /redfish/v1/ ", 503, FenceFault::Timeout, "not ready"),
        (Order::Off, reset, 401, FenceFault::Credentials, "password"),
        (Order::Off, reset, 403, FenceFault::Privilege, "role"),
        (Order::Off, reset, 400, FenceFault::Refused, "a vice"),
        (Order::Off, reset, 405, FenceFault::Refused, "405"),
        (Order::Off, reset, 503, FenceFault::Timeout, "not ready"),
        (Order::Check, "POST /redfish/v1/SessionService", 401, FenceFault::Credentials, "password"),
        (Order::Check, "POST /redfish/v1/SessionService", 403, FenceFault::Privilege, "password"),
    ] {
        let (got, reason) = status(order, at, number);
        assert_eq!(got, fault, "{at} {number}: {reason}");
        assert!(reason.contains(word), "{at} {number}: {reason}");
    }
}

#[test]
fn a_bmc_that_is_not_ready_yet_is_waited_for() {
    let server = BmcServer::start(Knobs { unready: 2, ..Knobs::default() });
    assert_eq!(outcome(&task(&server, Order::Off)), Ok(Power::Unknown));
    assert!(!server.bmc().is_on());
}

/// Switching off what is off is refused by many, and is no failure of the command; nor is it off.
#[test]
fn already_off_is_the_success_of_the_command_alone() {
    let refuses = Manner::Refuse(409, "Server is already powered OFF");
    let server = BmcServer::start(Knobs { power: false, manner: refuses, ..Knobs::default() });
    let (answer, _) = ask(&task(&server, Order::Off));
    assert_eq!(answer.outcome, Ok(Power::Unknown));
    assert!(answer.reason.contains("already powered OFF"), "{}", answer.reason);
    server.bmc().knobs.power = true;
    let (answer, _) = ask(&task(&server, Order::Off));
    assert_eq!(answer.outcome, Err(FenceFault::Refused));
}

#[test]
fn only_the_words_on_and_off_are_a_power() {
    let server = BmcServer::start(Knobs::default());
    for (state, power) in [
        (json!("Off"), Power::Off),
        (json!("PoweringOff"), Power::Unknown),
        (json!("Paused"), Power::Unknown),
        (json!(null), Power::Unknown),
        (json!("off"), Power::Unknown),
        (json!(0), Power::Unknown),
    ] {
        server.bmc().knobs.power_state = Some(state);
        assert_eq!(outcome(&task(&server, Order::Read)), Ok(power));
    }
}

#[test]
fn a_reading_waits_for_a_late_off_but_not_for_ever() {
    let late = Manner::Late(Duration::from_millis(600));
    let server = BmcServer::start(Knobs { manner: late, ..Knobs::default() });
    assert_eq!(outcome(&task(&server, Order::Off)), Ok(Power::Unknown));
    let watch = Task { watch_ms: 3000, ..task(&server, Order::Read) };
    assert_eq!(outcome(&watch), Ok(Power::Off));
    let lies = BmcServer::start(Knobs { manner: Manner::Lie, ..Knobs::default() });
    assert_eq!(outcome(&task(&lies, Order::Off)), Ok(Power::Unknown));
    let (answer, took) = ask(&Task { watch_ms: 500, ..task(&lies, Order::Read) });
    assert_eq!(answer.outcome, Ok(Power::On));
    assert!(took > Duration::from_millis(300) && took < Duration::from_secs(3), "{took:?}");
}

#[test]
fn the_system_is_the_only_one_or_the_one_that_is_named() {
    let server = BmcServer::start(Knobs { systems: vec!["1", "2"], ..Knobs::default() });
    let (answer, _) = ask(&task(&server, Order::Check));
    assert_eq!(answer.outcome, Err(FenceFault::Refused));
    assert!(answer.reason.contains("write system = one of \"1\", \"2\""), "{}", answer.reason);
    for name in ["2", "/redfish/v1/Systems/2"] {
        let named = Task { system: Some(name.to_owned()), ..task(&server, Order::Check) };
        assert_eq!(outcome(&named), Ok(Power::On));
        assert!(
            server.bmc().requests.iter().any(|line| line.starts_with("GET /redfish/v1/Systems/2"))
        );
    }
    for (name, word) in [("3", "has no system \"3\""), ("/redfish/v1/Systems/3", "correct system")]
    {
        let named = Task { system: Some(name.to_owned()), ..task(&server, Order::Check) };
        let (answer, _) = ask(&named);
        assert_eq!(answer.outcome, Err(FenceFault::Refused));
        assert!(answer.reason.contains(word), "{}", answer.reason);
    }
    let (fault, reason) = fault_of(Order::Check, |knobs| knobs.systems = Vec::new());
    assert_eq!(
        (fault, reason.as_str()),
        (FenceFault::Refused, "the BMC tells of no system at all")
    );
}

/// It is found by a check, and not in the moment of need.
#[test]
fn a_bmc_that_cannot_force_the_power_off_fails_its_check() {
    let graceful = vec!["On", "GracefulShutdown"];
    for has_action_info in [false, true] {
        let kinds = graceful.clone();
        let server = BmcServer::start(Knobs { kinds, has_action_info, ..Knobs::default() });
        let (answer, _) = ask(&task(&server, Order::Check));
        assert_eq!(answer.outcome, Err(FenceFault::Refused));
        assert!(answer.reason.contains("knows no ForceOff, but On"), "{}", answer.reason);
        assert_eq!(outcome(&task(&server, Order::Off)), Err(FenceFault::Refused));
        assert_eq!(outcome(&task(&server, Order::Read)), Ok(Power::On));
        assert!(server.bmc().is_on());
    }
    let infos = Knobs { has_action_info: true, ..Knobs::default() };
    let silent = Knobs { lists_nothing: true, ..Knobs::default() };
    for knobs in [infos, silent] {
        let server = BmcServer::start(knobs);
        assert_eq!(outcome(&task(&server, Order::Off)), Ok(Power::Unknown));
        assert!(!server.bmc().is_on());
        assert_eq!(outcome(&task(&server, Order::On)), Ok(Power::Unknown));
        assert!(server.bmc().is_on());
    }
}

/// Nothing is told to a stranger: no path, no user, no password.
#[test]
fn a_certificate_that_is_not_the_pinned_one_ends_it_before_a_word() {
    let server = BmcServer::start(Knobs::default());
    let wrong = Task { trust: Trust::Pinned([7; 32]), ..task(&server, Order::Off) };
    let (answer, _) = ask(&wrong);
    assert_eq!(answer.outcome, Err(FenceFault::Certificate));
    let fingerprint = server.fingerprint;
    let expected = format!(
        "the certificate is not the pinned one: fingerprint is {fingerprint}; if that is right \
         write certificate = \"{fingerprint}\""
    );
    assert_eq!(answer.reason, expected);
    assert!(server.bmc().requests.is_empty());
    assert!(server.bmc().is_on());
}

/// Of a pinned certificate nothing else matters: the clocks of BMCs are wrong.
#[test]
fn a_pinned_certificate_may_have_expired() {
    let server = BmcServer::start_as(&Identity::expired(), Knobs::default());
    assert_eq!(outcome(&task(&server, Order::Check)), Ok(Power::On));
}

#[test]
fn an_authority_vouches_for_name_time_and_nobody_else() {
    let directory = std::env::temp_dir().join(format!("tandem-redfish-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let (authority, stranger) = (Authority::new(), Authority::new());
    let path = directory.join("ca.pem");
    std::fs::write(&path, authority.pem()).unwrap();
    let trust = Trust::Authority(path.display().to_string());
    let check = |identity: &Identity, trust: Trust| {
        let server = BmcServer::start_as(identity, Knobs::default());
        let (answer, _) = ask(&Task { trust, ..task(&server, Order::Check) });
        assert!(answer.outcome.is_ok() || server.bmc().requests.is_empty());
        (answer.outcome, answer.reason)
    };
    let address = "127.0.0.1";
    let (outcome, reason) = check(&Identity::issued(&authority, address, false), trust.clone());
    assert_eq!(outcome, Ok(Power::On), "{reason}");
    for (identity, word) in [
        (Identity::issued(&authority, address, true), "has expired"),
        (Identity::issued(&authority, "bmc.example", false), "another name or address"),
        (Identity::issued(&stranger, address, false), "not from an authority"),
        (Identity::self_signed(), "not from an authority"),
    ] {
        let (outcome, reason) = check(&identity, trust.clone());
        assert_eq!(outcome, Err(FenceFault::Certificate), "{reason}");
        assert!(reason.contains(word), "{reason}");
        let line = format!("write certificate = \"{}\"", identity.fingerprint());
        assert!(reason.ends_with(&line), "{reason}");
    }
    std::fs::write(&path, "no certificate").unwrap();
    for (path, word) in [(path, "holds no certificate"), (directory.join("none"), "cannot be read")]
    {
        let trust = Trust::Authority(path.display().to_string());
        let (outcome, reason) = check(&Identity::self_signed(), trust);
        assert_eq!(outcome, Err(FenceFault::Certificate));
        assert!(reason.contains(word), "{reason}");
    }
    std::fs::remove_dir_all(&directory).unwrap();
}

/// An address of IPv6 stands in brackets in a request, and without them in a certificate.
#[test]
fn a_bmc_may_have_an_address_of_ipv6() {
    let authority = Authority::new();
    let identity = Identity::issued(&authority, "::1", false);
    let server = BmcServer::start_at("[::1]:0", &identity, Knobs::default());
    assert_eq!(outcome(&task(&server, Order::Off)), Ok(Power::Unknown));
    let path = std::env::temp_dir().join(format!("tandem-ca6-{}.pem", std::process::id()));
    std::fs::write(&path, authority.pem()).unwrap();
    let trust = Trust::Authority(path.display().to_string());
    let own = format!("https://{}/redfish/v1/Systems", server.address);
    server.bmc().has_vice("GET /redfish/v1/Systems ", Vice::Redirect(301, format!("{own}/")));
    assert_eq!(outcome(&Task { trust, ..task(&server, Order::Read) }), Ok(Power::Off));
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn whatever_hangs_is_named() {
    let hangs = |order, at: &'static str| {
        fault_within(SHORT, order, |knobs| knobs.vices = vec![(at, Vice::Hang)])
    };
    let (fault, reason) = fault_within(SHORT, Order::Check, |knobs| knobs.is_deaf = true);
    assert_eq!(fault, FenceFault::Timeout);
    assert!(reason.contains("TLS handshake"), "{reason}");
    for (order, at, word) in [
        (Order::Check, "GET /redfish/v1/ ", "/redfish/v1/"),
        (Order::Check, "POST /redfish/v1/Session", SESSIONS),
        (Order::Check, "GET /redfish/v1/Systems ", "/redfish/v1/Systems"),
        (Order::Check, "GET /redfish/v1/Systems/", "/System.Embedded.1"),
        (Order::Off, "POST /redfish/v1/Systems/", "ComputerSystem.Reset"),
    ] {
        let (fault, reason) = hangs(order, at);
        assert_eq!(fault, FenceFault::Timeout, "{at}: {reason}");
        assert!(reason.contains(word) && reason.contains("in time"), "{at}: {reason}");
    }
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = BmcServer::start(Knobs::default());
    let port = nobody.local_addr().unwrap().port();
    drop(nobody);
    let (answer, _) = ask(&Task { port, ..task(&server, Order::Check) });
    assert_eq!(answer.outcome, Err(FenceFault::Unreachable), "{}", answer.reason);
    let name = "there.is.no.such.name.invalid".to_owned();
    let (answer, _) = ask(&Task { host: name, ..task(&server, Order::Check) });
    assert_eq!(answer.outcome, Err(FenceFault::Unreachable), "{}", answer.reason);
    assert!(answer.reason.contains("cannot be looked up"), "{}", answer.reason);
}

/// A session that the BMC gave is ended also if the rest went wrong.
#[test]
fn sessions_do_not_pile_up_behind_failures() {
    let vices = vec![("GET /redfish/v1/Systems", Vice::Hang)];
    let server = BmcServer::start(Knobs { vices, ..Knobs::default() });
    let (answer, _) = ask(&Task { timeout_ms: SHORT, ..task(&server, Order::Check) });
    assert_eq!(answer.outcome, Err(FenceFault::Timeout));
    assert!(server.bmc().sessions.is_empty());
}

#[test]
fn bodies_that_make_no_sense_are_no_reading() {
    let raw = |text: &str| Vice::Raw(text.as_bytes().to_vec());
    let gzip = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx";
    for (vice, fault, word) in [
        (Vice::Truncated, FenceFault::Garbled, "ended too early"),
        (Vice::Endless, FenceFault::Garbled, "longer than any"),
        (Vice::Trickle(Duration::from_millis(20)), FenceFault::Timeout, "in time"),
        (Vice::Close, FenceFault::Unreachable, "closed"),
        (raw("\u{0}\u{1}garbage\r\n\r\n"), FenceFault::Garbled, "HTTP"),
        (raw("HTTP/1.1 200 OK\r\n\r\n{\"PowerState\": \"Off\""), FenceFault::Garbled, "JSON"),
        (raw("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n\"Off"), FenceFault::Garbled, "JSON"),
        (raw("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"), FenceFault::Refused, "system"),
        (raw(gzip), FenceFault::Garbled, "compressed"),
    ] {
        let at = "GET /redfish/v1/Systems/";
        let timeout_ms = if fault == FenceFault::Timeout { SHORT } else { LONG };
        let (got, reason) = fault_within(timeout_ms, Order::Read, |knobs| {
            knobs.power = false;
            knobs.vices = vec![(at, vice.clone())];
        });
        assert_eq!(got, fault, "{vice:?}: {reason}");
        assert!(reason.contains(word), "{vice:?}: {reason}");
    }
    let deep = format!("HTTP/1.1 200 OK\r\n\r\n{}", "[".repeat(100_000));
    let (fault, reason) =
        fault_of(Order::Read, |knobs| knobs.vices = vec![("GET /redfish/v1/ ", raw(&deep))]);
    assert_eq!(fault, FenceFault::Garbled, "{reason}");
}

#[test]
fn only_what_speaks_tls_is_spoken_to() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let plain = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        std::thread::sleep(Duration::from_millis(200));
    });
    let server = BmcServer::start(Knobs::default());
    let (answer, _) = ask(&Task { port: address.port(), ..task(&server, Order::Check) });
    assert_eq!(answer.outcome, Err(FenceFault::Garbled), "{}", answer.reason);
    assert!(answer.reason.contains("does not speak TLS"), "{}", answer.reason);
    plain.join().unwrap();
}

#[test]
fn redirections_are_followed_within_the_bmc_alone() {
    let redirect = |status, location: &str| Vice::Redirect(status, location.to_owned());
    let server = BmcServer::start(Knobs::default());
    let system = "/redfish/v1/Systems/System.Embedded.1";
    let own = format!("https://{}{system}", server.address);
    for location in [system, &own] {
        server.bmc().knobs.vices =
            vec![("GET /redfish/v1/Systems ", redirect(308, "/redfish/v1/S"))];
        server.bmc().has_vice("GET /old", redirect(302, location));
        let moved = Task { system: Some("/old".to_owned()), ..task(&server, Order::Read) };
        assert_eq!(outcome(&moved), Ok(Power::On), "{location}");
    }
    for location in ["https://elsewhere.example/x", "http://127.0.0.1/x", "//elsewhere/x", "", "x"]
    {
        let (fault, reason) = fault_of(Order::Check, |knobs| {
            knobs.vices = vec![("GET /redfish/v1/Systems", redirect(302, location))];
        });
        assert_eq!(fault, FenceFault::Refused);
        assert!(reason.contains("leads away"), "{location}: {reason}");
    }
    let (_, reason) = fault_of(Order::Check, |knobs| {
        knobs.vices = vec![("GET /redfish/v1/Systems", redirect(302, "/redfish/v1/Systems"))];
    });
    assert!(reason.contains("circle"), "{reason}");
    // A command is not sent again as something else.
    let (fault, _) = fault_of(Order::Off, |knobs| {
        knobs.vices = vec![("POST /redfish/v1/Systems", redirect(303, "/redfish/v1/"))];
    });
    assert_eq!(fault, FenceFault::Refused);
}

/// A file of authorities is looked at before it is needed.
#[test]
fn the_check_of_a_configuration_looks_at_its_authorities() {
    let directory = std::env::temp_dir().join(format!("tandem-ca-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let at = |name: &str| directory.join(name).display().to_string();
    std::fs::write(at("good.pem"), Authority::new().pem()).unwrap();
    std::fs::write(at("bad.pem"), "nothing").unwrap();
    let device = |node: &str, file: &str| {
        format!(
            "[[fence]]\nnode = \"{node}\"\ntype = \"redfish\"\naddress = \"10.9.0.{}\"\n\
             user = \"u\"\npassword-file = \"{}\"\nca-file = \"{}\"\n",
            file.len(),
            at("key"),
            at(file)
        )
    };
    let text = format!(
        "cluster = \"c\"\nkey-file = \"{}\"\n[nodes.a]\n[nodes.b]\n{}{}",
        at("key"),
        device("a", "good.pem"),
        device("b", "bad.pem")
    );
    std::fs::write(at("tandem.toml"), text).unwrap();
    let check = Command::new(tandem()).args(["check", "--config", &at("tandem.toml")]).output();
    let told = String::from_utf8(check.unwrap().stderr).unwrap();
    let expected = format!(
        "tandem.toml:18: error: fence[1].ca-file: the ca-file {} holds no certificate\n",
        at("bad.pem")
    );
    assert!(told.contains(&expected), "{told}");
    assert!(!told.contains("good.pem"), "{told}");
    std::fs::remove_dir_all(&directory).unwrap();
}

//! Callers of the control socket who do not know how to behave.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::lab::Node;
use crate::lab::clock::Stamp;
use crate::pair::{Pair, patient};

/// Connects to the control socket of a node's daemon.
fn connect(pair: &Pair, node: Node) -> UnixStream {
    let pid = pair.lab.machine(node).daemon_pid().unwrap();
    let stream = UnixStream::connect(format!("/proc/{pid}/root/run/tandem/control.sock")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

/// What the daemon says until it hangs up; it must hang up. A caller that goes on writing is reset.
fn last_words(mut stream: UnixStream) -> String {
    let mut bytes = Vec::new();
    if let Err(error) = stream.read_to_end(&mut bytes) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn bad_callers_of_the_control_socket_cost_themselves_and_nobody_else() {
    let Some(pair) = Pair::running(patient()) else { return };
    let begun = Stamp::now();
    let incarnation = pair.status(Node::A)["nodes"][0]["incarnation"].clone();

    for garbage in
        [&b"\x00\xff\xfe rubbish\n"[..], b"{}\n", b"[[[[[[[[\n", b"{\"status\":1}\n", b"\n"]
    {
        let mut stream = connect(&pair, Node::A);
        stream.write_all(garbage).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let answer = last_words(stream);
        assert!(answer.contains("error"), "{garbage:?} is answered {answer:?}");
    }

    // Too long: it is not read to its end.
    let mut stream = connect(&pair, Node::A);
    let endless = vec![b'x'; 1 << 20];
    let mut written = 0;
    while let Ok(len) = stream.write(&endless) {
        written += len;
        assert!(written < 64 << 20, "the daemon takes everything");
    }
    drop(last_words(stream));

    // Half a request, and silence. Until their time is over they keep their places.
    let silent: Vec<UnixStream> = (0..100)
        .map(|_| {
            let mut stream = connect(&pair, Node::A);
            // Those for whom there is no place may be closed already.
            drop(stream.write_all(b"{\"cmd\":\"sta"));
            stream
        })
        .collect();
    for stream in silent {
        drop(last_words(stream));
    }
    assert!(begun.elapsed() < Duration::from_secs(15), "they were kept for too long");

    // Who hangs up in the middle of an answer, and many who do.
    for _ in 0..200 {
        let mut stream = connect(&pair, Node::A);
        drop(stream.write_all(b"{\"cmd\":\"status\"}\n"));
    }
    pair.wait_health(Node::A, "ok");
    assert_eq!(pair.status(Node::A)["nodes"][0]["incarnation"], incarnation, "another daemon");
    for node in Node::BOTH {
        pair.assert_not_logged(node, "late on all links", begun);
        pair.assert_not_logged(node, "panicked", begun);
    }
    pair.assert_served_since(Node::A, begun);
    pair.end();
}

//! The control protocol, both ways: what strangers ask the daemon, and what the tool is answered.

use tandem::wire::control::{EventLine, Request, Response};

/// The same bytes as a request, a response and an event.
pub fn run(data: &[u8]) {
    match Request::parse(data) {
        Ok(request) => {
            let line = request.to_line();
            let again = Request::parse(line.as_bytes()).expect("what is asked is understood");
            assert_eq!(again, request);
        }
        Err(failure) => {
            assert!(!failure.message.contains('\n'), "a failure is one line");
        }
    }
    let Ok(text) = core::str::from_utf8(data) else { return };
    if let Ok(response) = Response::parse(text) {
        Response::parse(&response.to_line()).expect("what is answered is understood");
    }
    drop(serde_json::from_str::<EventLine>(text));
}

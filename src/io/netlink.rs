//! rtnetlink on the loop: one socket for requests, one for what the kernel tells by itself.
//!
//! ```text
//!  submit(Request) ──► [ connection ] ──► kernel          kernel ──► [ connection ] ──► Notice
//!  next_reply()    ◄── [ in flight  ] ◄──  ack, list      (links, IPv4 and IPv6 addresses)
//! ```
//!
//! Both connections are `netlink_proto`'s state machines, polled with a waker that does nothing;
//! there is no executor. A request counts as done only with the kernel's positive acknowledgement:
//! silence, a lost message and a dead connection are [`Fault::Unanswered`]. What the requests are
//! for, and which addresses are ours, is not known here.

mod message;
mod socket;

use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::collections::VecDeque;
use std::io;
use std::os::fd::AsRawFd;

use futures_util::Stream;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use netlink_packet_core::{NLM_F_DUMP_INTR, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_proto::sys::{AsyncSocket, SocketAddr, protocols::NETLINK_ROUTE};
use netlink_proto::{Connection, ConnectionHandle, new_connection_with_socket};
use nix::errno::Errno;
use rtnetlink::{MulticastGroup, new_multicast_connection_with_socket};

pub use message::{Address, Link, Request};
use socket::NetlinkSocket;

use crate::types::Instant;

/// The most requests that wait for an answer at a time: more acknowledgements than about a hundred
/// overrun the socket's receive buffer.
pub const IN_FLIGHT_MAX: usize = 64;
/// How long the kernel has for an answer. It answers while it is asked; this only ends a wait for
/// an answer that was lost.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// How often a list that changed while it was read is asked for again.
const DUMP_ATTEMPTS_MAX: u8 = 5;
/// The longest list; a longer one is not understood.
const DUMP_LEN_MAX: usize = 65_536;

type Message = NetlinkMessage<RouteNetlinkMessage>;
type Answers = Pin<Box<dyn Stream<Item = Message>>>;

/// Ties a request to its one reply. Rises with each request.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct RequestId(u64);

/// What the kernel did or told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// It is done, or was so already.
    Done,
    /// All links.
    Links(Vec<Link>),
    /// All addresses.
    Addresses(Vec<Address>),
}

/// Why it is not known to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The kernel refused.
    Denied(Errno),
    /// No answer came, or it was lost: it may or may not be done.
    Unanswered,
}

/// What the kernel tells unasked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Notice {
    /// A link is new or changed.
    Link(Link),
    /// A link is gone.
    LinkGone(u32),
    /// An address is new or changed.
    Address(Address),
    /// An address is gone.
    AddressGone(Address),
    /// News were lost: what is believed must be compared with a list.
    Overrun,
}

/// The connection to the kernel.
pub struct Netlink {
    requests: Connection<RouteNetlinkMessage, NetlinkSocket>,
    handle: ConnectionHandle<RouteNetlinkMessage>,
    /// What comes on the request socket and answers nothing: overruns.
    stray: Answers,
    events: Connection<RouteNetlinkMessage, NetlinkSocket>,
    /// Kept because dropping it would close the events' connection.
    _events_handle: rtnetlink::Handle,
    news: Answers,
    in_flight: VecDeque<InFlight>,
    replies: VecDeque<(RequestId, Result<Answer, Fault>)>,
    notices: VecDeque<Notice>,
    next_id: u64,
}

struct InFlight {
    id: RequestId,
    request: Request,
    answers: Answers,
    deadline: Instant,
    attempts_left: u8,
    links: Vec<Link>,
    addresses: Vec<Address>,
    /// The list changed while it was read.
    torn: bool,
}

impl Netlink {
    /// Opens both sockets in the calling thread's network namespace.
    ///
    /// # Errors
    /// Those of `socket(2)` and `bind(2)`.
    pub fn open() -> io::Result<Self> {
        let (mut requests, handle, stray) = new_connection_with_socket(NETLINK_ROUTE)?;
        requests.set_forward_ack(true);
        requests.set_forward_done(true);
        let bound: &mut NetlinkSocket = requests.socket_mut();
        bound.socket_mut().bind_auto()?;
        let groups = [MulticastGroup::Link, MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr];
        let (events, events_handle, news) = new_multicast_connection_with_socket(&groups)?;
        Ok(Self {
            requests,
            handle,
            stray: Box::pin(strip_sender(stray)),
            events,
            _events_handle: events_handle,
            news: Box::pin(strip_sender(news)),
            in_flight: VecDeque::with_capacity(IN_FLIGHT_MAX),
            replies: VecDeque::new(),
            notices: VecDeque::new(),
            next_id: 0,
        })
    }

    /// Registers both sockets.
    ///
    /// # Errors
    /// Those of the poll.
    pub fn register(
        &mut self,
        registry: &Registry,
        requests: Token,
        events: Token,
    ) -> io::Result<()> {
        for (fd, token) in [
            (self.requests.socket_mut().as_raw_fd(), requests),
            (self.events.socket_mut().as_raw_fd(), events),
        ] {
            registry.register(
                &mut SourceFd(&fd),
                token,
                Interest::READABLE | Interest::WRITABLE,
            )?;
        }
        Ok(())
    }

    /// How many more requests may be submitted now.
    pub fn room(&self) -> usize {
        IN_FLIGHT_MAX.saturating_sub(self.in_flight.len() + self.replies.len())
    }

    /// Whether a list is being read; the kernel reads one at a time for a socket.
    pub fn is_listing(&self) -> bool {
        self.in_flight.iter().any(|waiting| waiting.request.is_dump())
    }

    /// Sends a request. Its answer comes from [`Self::next_reply`], often in the same turn; nothing
    /// is returned if there is no room or the connection is dead.
    pub fn submit(&mut self, now: Instant, request: Request) -> Option<RequestId> {
        if self.room() == 0 || (request.is_dump() && self.is_listing()) {
            return None;
        }
        let answers = self.send(&request)?;
        let id = RequestId(self.next_id);
        self.next_id += 1;
        self.in_flight.push_back(InFlight {
            id,
            request,
            answers,
            deadline: now + ANSWER_TIMEOUT,
            attempts_left: DUMP_ATTEMPTS_MAX,
            links: Vec::new(),
            addresses: Vec::new(),
            torn: false,
        });
        Some(id)
    }

    fn send(&mut self, request: &Request) -> Option<Answers> {
        let stream = self.handle.request(request.to_message(), SocketAddr::new(0, 0)).ok()?;
        let mut cx = Context::from_waker(Waker::noop());
        self.requests.poll_requests(&mut cx);
        self.requests.poll_send_messages(&mut cx);
        Some(Box::pin(stream))
    }

    /// Reads what there is, as far as one turn allows. Call it when a token is ready, after
    /// [`Self::submit`], and when the deadline has come.
    pub fn turn(&mut self, now: Instant) {
        let mut cx = Context::from_waker(Waker::noop());
        self.requests.socket_mut().begin_turn();
        for _ in 0..=self.in_flight.len() {
            self.requests.poll_send_messages(&mut cx);
        }
        self.requests.poll_read_messages(&mut cx);
        self.requests.forward_unsolicited_messages();
        self.requests.forward_responses();
        let mut is_lost = self.is_dead();
        while let Poll::Ready(Some(message)) = self.stray.as_mut().poll_next(&mut cx) {
            is_lost |= matches!(message.payload, NetlinkPayload::Overrun(_));
        }
        self.collect_replies(now, is_lost);

        self.events.socket_mut().begin_turn();
        self.events.poll_read_messages(&mut cx);
        self.events.forward_unsolicited_messages();
        while let Poll::Ready(Some(message)) = self.news.as_mut().poll_next(&mut cx) {
            self.notices.extend(to_notice(&message));
        }
    }

    fn collect_replies(&mut self, now: Instant, is_lost: bool) {
        for _ in 0..self.in_flight.len() {
            let Some(mut waiting) = self.in_flight.pop_front() else { break };
            match waiting.poll() {
                Progress::Finished(result) => self.replies.push_back((waiting.id, result)),
                Progress::Torn if waiting.attempts_left > 0 => match self.send(&waiting.request) {
                    Some(answers) => self.in_flight.push_back(waiting.again(answers, now)),
                    None => self.replies.push_back((waiting.id, Err(Fault::Unanswered))),
                },
                Progress::Torn => self.replies.push_back((waiting.id, Err(Fault::Unanswered))),
                Progress::Waiting if is_lost || now >= waiting.deadline => {
                    self.replies.push_back((waiting.id, Err(Fault::Unanswered)));
                }
                Progress::Waiting => self.in_flight.push_back(waiting),
            }
        }
    }

    /// The next reply, in the order in which the kernel answered.
    pub fn next_reply(&mut self) -> Option<(RequestId, Result<Answer, Fault>)> {
        self.replies.pop_front()
    }

    /// The next news, in the order in which the kernel told them.
    pub fn next_notice(&mut self) -> Option<Notice> {
        self.notices.pop_front()
    }

    /// Whether there was more to read than the turn allowed: call [`Self::turn`] again soon.
    pub fn has_more(&mut self) -> bool {
        self.requests.socket_mut().has_more() || self.events.socket_mut().has_more()
    }

    /// Whether a connection broke. Everything in flight is answered with
    /// [`Fault::Unanswered`]; open a new one.
    pub fn is_dead(&self) -> bool {
        self.requests.should_shut_down() || self.events.should_shut_down()
    }

    /// When [`Self::turn`] must be called at the latest.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.in_flight.iter().map(|waiting| waiting.deadline).min()
    }
}

enum Progress {
    Waiting,
    /// The list is inconsistent: ask again.
    Torn,
    Finished(Result<Answer, Fault>),
}

impl InFlight {
    fn poll(&mut self) -> Progress {
        let mut cx = Context::from_waker(Waker::noop());
        loop {
            let message = match self.answers.as_mut().poll_next(&mut cx) {
                Poll::Pending => return Progress::Waiting,
                Poll::Ready(None) => return Progress::Finished(Err(Fault::Unanswered)),
                Poll::Ready(Some(message)) => message,
            };
            self.torn |= message.header.flags & NLM_F_DUMP_INTR != 0;
            match message.payload {
                NetlinkPayload::InnerMessage(inner) => {
                    self.keep(&inner);
                    if self.links.len() + self.addresses.len() > DUMP_LEN_MAX {
                        return Progress::Finished(Err(Fault::Unanswered));
                    }
                }
                NetlinkPayload::Done(done) => return self.finish(done.code),
                NetlinkPayload::Error(error) => return self.finish(error.raw_code()),
                // An overrun or a payload of a later protocol: not an acknowledgement.
                NetlinkPayload::Noop | NetlinkPayload::Overrun(_) | _ => {
                    return Progress::Finished(Err(Fault::Unanswered));
                }
            }
        }
    }

    fn keep(&mut self, message: &RouteNetlinkMessage) {
        if let RouteNetlinkMessage::NewLink(link) = message {
            self.links.extend(Link::from_message(link));
        } else if let RouteNetlinkMessage::NewAddress(address) = message {
            self.addresses.extend(Address::from_message(address));
        }
    }

    /// The verdict by the kernel's status: zero, or a negative error number.
    fn finish(&mut self, code: i32) -> Progress {
        let errno = Errno::from_raw(code.saturating_neg());
        let is_already_so = match self.request {
            Request::Add { .. } => errno == Errno::EEXIST,
            Request::Delete { .. } => matches!(errno, Errno::EADDRNOTAVAIL | Errno::ENODEV),
            Request::Promote { .. } | Request::Links | Request::Addresses => false,
        };
        if code != 0 && !is_already_so {
            return Progress::Finished(Err(Fault::Denied(errno)));
        }
        if self.torn {
            return Progress::Torn;
        }
        Progress::Finished(Ok(match self.request {
            Request::Links => Answer::Links(core::mem::take(&mut self.links)),
            Request::Addresses => Answer::Addresses(core::mem::take(&mut self.addresses)),
            Request::Add { .. } | Request::Delete { .. } | Request::Promote { .. } => Answer::Done,
        }))
    }

    fn again(self, answers: Answers, now: Instant) -> Self {
        Self {
            answers,
            deadline: now + ANSWER_TIMEOUT,
            attempts_left: self.attempts_left.saturating_sub(1),
            links: Vec::new(),
            addresses: Vec::new(),
            torn: false,
            ..self
        }
    }
}

fn to_notice(message: &Message) -> Option<Notice> {
    let NetlinkPayload::InnerMessage(inner) = &message.payload else {
        return matches!(message.payload, NetlinkPayload::Overrun(_)).then_some(Notice::Overrun);
    };
    if let RouteNetlinkMessage::NewLink(link) = inner {
        Link::from_message(link).map(Notice::Link)
    } else if let RouteNetlinkMessage::DelLink(link) = inner {
        Link::from_message(link).map(|gone| Notice::LinkGone(gone.index))
    } else if let RouteNetlinkMessage::NewAddress(address) = inner {
        Address::from_message(address).map(Notice::Address)
    } else if let RouteNetlinkMessage::DelAddress(address) = inner {
        Address::from_message(address).map(Notice::AddressGone)
    } else {
        None
    }
}

/// The messages without the addresses of their senders.
fn strip_sender(stream: impl Stream<Item = (Message, SocketAddr)>) -> impl Stream<Item = Message> {
    futures_util::StreamExt::map(stream, |(message, _sender)| message)
}

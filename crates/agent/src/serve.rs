//! One request after the other: read, checked, done, answered.

use crate::port::Port;
use crate::{connect, fork, identify, systemd, timings, wake};
use stampo_agent_protocol::{
    Decoder, Ending, Frame, Hello, Refusal, Request, Response, VERSION, decode_request,
    encode_response, printable,
};
use std::fmt::Display;
use std::io;

/// Serves the port until its end. Nothing that a host sends ends it.
pub(crate) fn serve(port: &mut Port) -> io::Result<()> {
    let mut decoder = Decoder::new();
    let mut buffer = vec![0; 16 << 10];
    loop {
        let count = port.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        let mut input = &buffer[..count];
        loop {
            match decoder.next(&mut input) {
                Ok(Some(frame)) => port.write(&answer(&frame))?,
                Ok(None) => break,
                // Whose request it was can't be known.
                Err(error) => port.write(&encoded(0, &refused(error)))?,
            }
        }
    }
}

fn answer(frame: &Frame) -> Vec<u8> {
    let response = match decode_request(frame) {
        Ok(request) => respond(request),
        Err(error) => refused(error),
    };
    encoded(frame.id, &response)
}

fn respond(request: Request) -> Response {
    match request {
        Request::Hello => Response::Hello(hello()),
        Request::Identify { nonce } => match identify::evidence(nonce) {
            Ok(evidence) => Response::Identity(Box::new(evidence)),
            Err(failure) => refused(failure),
        },
        Request::Fork(request) => match fork::fork(&request) {
            Ok(report) => Response::Forked(Box::new(report)),
            Err(failure) => refused(failure),
        },
        Request::Wake(request) => match wake::wake(&request) {
            Ok(report) => Response::Woken(Box::new(report)),
            Err(failure) => refused(failure),
        },
        Request::Connect(request) => Response::Connected(connect::connect(request)),
        Request::Timings => Response::Timings(timings::timings()),
        Request::Shutdown { ending } => {
            let target = match ending {
                Ending::PowerOff => "poweroff.target",
                Ending::Reboot => "reboot.target",
            };
            match systemd::start_irreversibly(target) {
                Ok(()) => Response::ShuttingDown,
                Err(failure) => refused(failure),
            }
        }
    }
}

fn hello() -> Hello {
    Hello {
        agent: env!("CARGO_PKG_VERSION").into(),
        version: VERSION,
        kernel: identify::kernel(),
        has_vmgenid: identify::has_vmgenid(),
        uptime_ms: timings::uptime_ms(),
    }
}

fn refused(why: impl Display) -> Response {
    Response::Refused(Refusal {
        why: printable(&why.to_string()),
        version: VERSION,
    })
}

/// An answer that the host would refuse is replaced by the reason: a guest whose host name is no
/// host name, for example, has to be told about.
fn encoded(id: u32, response: &Response) -> Vec<u8> {
    encode_response(id, response)
        .or_else(|error| encode_response(id, &refused(error)))
        .expect("a refusal is short and printable")
}

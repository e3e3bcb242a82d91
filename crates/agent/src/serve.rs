//! One request after the other: read, checked, done, answered.

use crate::exec::Commands;
use crate::outcome::Failure;
use crate::port::Port;
use crate::{connect, fork, identify, systemd, timings, wake};
use stampo_agent_protocol::{
    Decoder, Ending, Frame, Hello, Refusal, Request, Response, VERSION, decode_request,
    encode_response, printable,
};
use std::fmt::Display;
use std::io;
use std::time::Instant;

/// Serves the port until its end. Nothing that a host sends ends it.
pub(crate) fn serve(port: &mut Port) -> io::Result<()> {
    let mut decoder = Decoder::new();
    let mut buffer = vec![0; 16 << 10];
    let mut commands = Commands::default();
    connect::resume();
    loop {
        let read = port.read(&mut buffer, commands.next_deadline())?;
        commands.give_up_late(Instant::now());
        let Some(count) = read else {
            continue;
        };
        if count == 0 {
            commands.end_all();
            return Ok(());
        }
        let mut input = &buffer[..count];
        loop {
            match decoder.next(&mut input) {
                Ok(Some(frame)) => {
                    port.write(&answer(&frame, &mut commands))?;
                    connect::later();
                }
                Ok(None) => break,
                // Whose request it was can't be known.
                Err(error) => port.write(&encoded(0, &refused(error)))?,
            }
        }
    }
}

fn answer(frame: &Frame, commands: &mut Commands) -> Vec<u8> {
    let response = match decode_request(frame) {
        Ok(request) => respond(request, commands),
        Err(error) => refused(error),
    };
    encoded(frame.id, &response)
}

fn respond(request: Request, commands: &mut Commands) -> Response {
    let answered = match request {
        Request::Hello => Ok(Response::Hello(hello())),
        Request::Identify { nonce } => {
            identify::evidence(nonce).map(|evidence| Response::Identity(Box::new(evidence)))
        }
        Request::Fork(request) => {
            commands.end_all();
            fork::fork(&request).map(|report| Response::Forked(Box::new(report)))
        }
        Request::Wake(request) => {
            wake::wake(&request).map(|report| Response::Woken(Box::new(report)))
        }
        Request::Prepare => fork::prepare().map(|()| Response::Prepared),
        Request::Connect(request) => connect::connect(request).map(Response::Connected),
        Request::Timings => Ok(Response::Timings(timings::timings())),
        Request::ExecStart(request) => commands
            .start(&request)
            .map(|session| Response::Started { session }),
        Request::ExecPoll(request) => commands.poll(&request).map(Response::ExecOutput),
        Request::ExecSignal(request) => commands.signal(&request).map(|()| Response::Signalled),
        Request::Shutdown { ending } => shutdown(ending),
    };
    answered.unwrap_or_else(refused)
}

fn shutdown(ending: Ending) -> Result<Response, Failure> {
    let target = match ending {
        Ending::PowerOff => "poweroff.target",
        Ending::Reboot => "reboot.target",
    };
    systemd::start_irreversibly(target)?;
    Ok(Response::ShuttingDown)
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

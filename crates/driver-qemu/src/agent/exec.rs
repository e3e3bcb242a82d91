//! Commands in the guest: `guest-exec` and `guest-exec-status`.

use super::{Agent, shape};
use crate::wire::{Deadline, WireError};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::json;
use stampo_driver::{ExecOutcome, ExecRequest};
use std::time::Duration;

/// The most standard input: the agent's own JSON parser takes tokens of up to 64 MiB.
const MOST_INPUT: usize = 16 << 20;

/// The most output of each stream, as the trait promises; the agent caps it there too.
const MOST_OUTPUT: usize = 16 << 20;

#[derive(Deserialize)]
struct Started {
    pid: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Status {
    exited: bool,
    exitcode: Option<i64>,
    signal: Option<i64>,
    out_data: Option<String>,
    err_data: Option<String>,
}

impl Agent {
    /// Runs a program and waits for its end. When the deadline passes the program goes on in the
    /// guest; the agent has no way to end it.
    pub fn exec(
        &mut self,
        request: &ExecRequest,
        deadline: Deadline,
    ) -> Result<ExecOutcome, WireError> {
        let Some((program, arguments)) = request.argv.split_first() else {
            return Err(WireError::refused("guest-exec", "no program was given"));
        };
        if request.input.len() > MOST_INPUT {
            return Err(WireError::refused(
                "guest-exec",
                "the input is larger than 16 MiB",
            ));
        }
        let mut order = json!({"path": program, "arg": arguments, "capture-output": true});
        if !request.input.is_empty() {
            order["input-data"] = STANDARD.encode(&request.input).into();
        }
        let started = self.command("guest-exec", order, deadline)?;
        let Started { pid } = shape("guest-exec", started)?;
        self.await_exit(pid, deadline)
    }

    /// Asks again and again, at first every 10 ms and in the end twice a second.
    fn await_exit(&mut self, pid: i64, deadline: Deadline) -> Result<ExecOutcome, WireError> {
        let mut pause = Duration::from_millis(10);
        loop {
            let status = self.command("guest-exec-status", json!({"pid": pid}), deadline)?;
            let status: Status = shape("guest-exec-status", status)?;
            if status.exited {
                return outcome(status);
            }
            if !deadline.sleep(pause) {
                return Err(WireError::Timeout);
            }
            pause = (pause * 3 / 2).min(Duration::from_millis(500));
        }
    }
}

fn outcome(status: Status) -> Result<ExecOutcome, WireError> {
    let code = match (status.exitcode, status.signal) {
        (Some(code), _) => code,
        (None, Some(signal)) => signal.saturating_add(128),
        (None, None) => {
            return Err(WireError::Malformed(
                "a command ended without a code".to_owned(),
            ));
        }
    };
    let exit_code =
        i32::try_from(code).map_err(|_| WireError::Malformed(format!("exit code {code}")))?;
    Ok(ExecOutcome {
        exit_code,
        stdout: output(status.out_data)?,
        stderr: output(status.err_data)?,
    })
}

fn output(data: Option<String>) -> Result<Vec<u8>, WireError> {
    let bytes = STANDARD.decode(data.unwrap_or_default());
    let mut bytes = bytes.map_err(|_| WireError::Malformed("output is not base64".to_owned()))?;
    bytes.truncate(MOST_OUTPUT);
    Ok(bytes)
}

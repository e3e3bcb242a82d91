//! Files in the guest: `guest-file-open`, `-read`, `-write`, `-close`.

use super::{Agent, shape};
use crate::wire::{Deadline, WireError};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::json;

/// Bytes for each request: a round trip costs more than its data, and a line stays well bounded.
const CHUNK: usize = 1 << 20;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Read {
    buf_b64: String,
    eof: bool,
}

#[derive(Deserialize)]
struct Written {
    count: u64,
}

impl Agent {
    /// The content of a file; a refusal when it is longer than `limit` bytes.
    pub fn read_file(
        &mut self,
        path: &str,
        limit: usize,
        deadline: Deadline,
    ) -> Result<Vec<u8>, WireError> {
        let handle = self.open(path, "r", deadline)?;
        let read = self.read_to_end(handle, limit, deadline);
        // The agent keeps few handles open; a failure to close matters less than what was read.
        let _ = self.close(handle, deadline);
        read
    }

    /// Makes or replaces a file.
    pub fn write_file(
        &mut self,
        path: &str,
        bytes: &[u8],
        deadline: Deadline,
    ) -> Result<(), WireError> {
        let handle = self.open(path, "w", deadline)?;
        let written = self.write_all(handle, bytes, deadline);
        let closed = self.close(handle, deadline);
        written.and(closed)
    }

    fn open(&mut self, path: &str, mode: &str, deadline: Deadline) -> Result<i64, WireError> {
        let opened = self.command(
            "guest-file-open",
            json!({"path": path, "mode": mode}),
            deadline,
        )?;
        shape("guest-file-open", opened)
    }

    fn close(&mut self, handle: i64, deadline: Deadline) -> Result<(), WireError> {
        self.command("guest-file-close", json!({"handle": handle}), deadline)
            .map(drop)
    }

    fn read_to_end(
        &mut self,
        handle: i64,
        limit: usize,
        deadline: Deadline,
    ) -> Result<Vec<u8>, WireError> {
        let mut bytes = Vec::new();
        loop {
            let read = self.command(
                "guest-file-read",
                json!({"handle": handle, "count": CHUNK}),
                deadline,
            )?;
            let read: Read = shape("guest-file-read", read)?;
            let chunk = STANDARD
                .decode(&read.buf_b64)
                .map_err(|_| WireError::Malformed("file content is not base64".to_owned()))?;
            if chunk.len() > CHUNK {
                return Err(WireError::Malformed(
                    "more was read than asked for".to_owned(),
                ));
            }
            bytes.extend_from_slice(&chunk);
            if bytes.len() > limit {
                let why = format!("the file is larger than {limit} bytes");
                return Err(WireError::refused("guest-file-read", &why));
            }
            if read.eof {
                return Ok(bytes);
            }
            if chunk.is_empty() {
                return Err(WireError::Malformed(
                    "an empty read before the end of a file".to_owned(),
                ));
            }
        }
    }

    fn write_all(
        &mut self,
        handle: i64,
        mut bytes: &[u8],
        deadline: Deadline,
    ) -> Result<(), WireError> {
        while !bytes.is_empty() {
            let chunk = &bytes[..bytes.len().min(CHUNK)];
            let order = json!({"handle": handle, "buf-b64": STANDARD.encode(chunk)});
            let written: Written = shape(
                "guest-file-write",
                self.command("guest-file-write", order, deadline)?,
            )?;
            let count = usize::try_from(written.count)
                .ok()
                .filter(|n| (1..=chunk.len()).contains(n));
            let Some(count) = count else {
                return Err(WireError::Malformed(format!(
                    "{} bytes written of {}",
                    written.count,
                    chunk.len()
                )));
            };
            bytes = &bytes[count..];
        }
        Ok(())
    }
}

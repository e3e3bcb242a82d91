//! Messages in frames: JSON, checked when it is read and when it is written.

use crate::check::{Invalid, check_request, check_response};
use crate::frame::{Frame, FrameError, encode};
use crate::{Request, Response, VERSION};
use std::fmt;

/// Why a message can't be read or written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MessageError {
    /// Its frame is none.
    Frame(FrameError),
    /// The other side speaks another version.
    Version {
        /// Theirs.
        theirs: u16,
    },
    /// It is not a message that this side knows; the column where that shows, from 1.
    Form {
        /// The column.
        column: usize,
    },
    /// A value in it may not be.
    Invalid(Invalid),
}

/// No text of the message is shown: it may hold secrets, or be somebody hostile's.
impl fmt::Display for MessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MessageError::Frame(error) => error.fmt(f),
            MessageError::Version { theirs } => {
                write!(
                    f,
                    "the other side speaks version {theirs}, and this one {VERSION}"
                )
            }
            MessageError::Form { column } => {
                write!(f, "a message makes no sense at its byte {column}")
            }
            MessageError::Invalid(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for MessageError {}

impl From<FrameError> for MessageError {
    fn from(error: FrameError) -> Self {
        MessageError::Frame(error)
    }
}

impl From<Invalid> for MessageError {
    fn from(error: Invalid) -> Self {
        MessageError::Invalid(error)
    }
}

/// The bytes of a request.
///
/// # Errors
/// When the request would be refused by the agent.
pub fn encode_request(id: u32, request: &Request) -> Result<Vec<u8>, MessageError> {
    check_request(request)?;
    write(id, request)
}

/// The bytes of an answer.
///
/// # Errors
/// When the host would refuse it.
pub fn encode_response(id: u32, response: &Response) -> Result<Vec<u8>, MessageError> {
    check_response(response)?;
    write(id, response)
}

/// The request in a frame, checked.
///
/// # Errors
/// When it is of another version, unknown, or a value in it may not be.
pub fn decode_request(frame: &Frame) -> Result<Request, MessageError> {
    let request = read(frame)?;
    check_request(&request)?;
    Ok(request)
}

/// The answer in a frame, checked: every text is short, of its kind, and printable.
///
/// # Errors
/// When it is of another version, unknown, or a value in it may not be.
pub fn decode_response(frame: &Frame) -> Result<Response, MessageError> {
    let response = read(frame)?;
    check_response(&response)?;
    Ok(response)
}

fn write(id: u32, message: &impl serde::Serialize) -> Result<Vec<u8>, MessageError> {
    let payload = serde_json::to_vec(message).map_err(|error| MessageError::Form {
        column: error.column(),
    })?;
    Ok(encode(VERSION, id, &payload)?)
}

fn read<'a, T: serde::Deserialize<'a>>(frame: &'a Frame) -> Result<T, MessageError> {
    if frame.version != VERSION {
        return Err(MessageError::Version {
            theirs: frame.version,
        });
    }
    serde_json::from_slice(&frame.payload).map_err(|error| MessageError::Form {
        column: error.column(),
    })
}

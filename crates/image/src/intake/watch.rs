//! The parent's side: starts the child, keeps time, and believes nothing that it can check.
//!
//! The child read hostile bytes, so its messages are hostile too: lines and their sum are bounded,
//! numbers must fit the limits and the destination file, texts are made printable again.

use super::error::IntakeError;
use super::protocol::{
    CHILD_ARG, DeclaredFormat, FormatDetails, Job, MAX_MESSAGE_BYTES, Message, Report,
    SandboxReport,
};
use super::{IntakeRequest, Taken};
use rustix::event::{PollFd, PollFlags, Timespec};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// The most that a child may say: an hour of progress is under 4 MiB.
const MAX_TOTAL_BYTES: usize = 64 << 20;

/// How often the caller may cancel when the child says nothing.
const TICK: Duration = Duration::from_millis(250);

/// Runs one child to its end.
pub fn run(request: &IntakeRequest<'_>) -> Result<Taken, IntakeError> {
    let mut child = Running(spawn(request)?);
    let pipe = child
        .0
        .stderr
        .take()
        .ok_or(IntakeError::Answer { what: "no pipe" })?;
    match listen(request, pipe)? {
        Some(taken) => Ok(taken),
        None => Err(child.cause_of_death(request)),
    }
}

/// Hears a child out; `None` when it closed the pipe without an answer.
pub fn listen(
    request: &IntakeRequest<'_>,
    pipe: ChildStderr,
) -> Result<Option<Taken>, IntakeError> {
    let wrong = |what| Err(IntakeError::Answer { what });
    let mut watch = Watch {
        request,
        deadline: Instant::now() + Duration::from_secs(request.limits.wall_s),
        lines: Lines {
            pipe,
            buffer: Vec::new(),
            total: 0,
        },
        progress: (0, 0),
    };
    let sandbox = match watch.next()? {
        Some(Message::Ready(sandbox)) => sandbox,
        Some(Message::Failed(fault)) => return Err(fault.made_printable().into()),
        Some(_) => return wrong("no sandbox before the first word"),
        None => return Ok(None),
    };
    loop {
        match watch.next()? {
            Some(Message::Progress {
                done_bytes,
                total_bytes,
            }) => {
                let total = total_bytes.min(request.limits.max_virtual_bytes);
                watch.progress = (done_bytes.min(total), total);
                watch.tell()?;
            }
            Some(Message::Taken(report)) => return accept(request, report, sandbox).map(Some),
            Some(Message::Refused(refusal)) => return Err(refusal.made_printable().into()),
            Some(Message::Failed(fault)) => return Err(fault.made_printable().into()),
            Some(Message::Ready(_)) => return wrong("ready twice"),
            None => return Ok(None),
        }
    }
}

/// Threads for decompression: one for each processor, but no crowd, and none for a single one.
fn workers() -> usize {
    std::thread::available_parallelism().map_or(0, |count| match count.get() {
        1 => 0,
        count => count.min(4),
    })
}

/// The program again, with two files and a pipe: no terminal signals, and no environment but one
/// hint to glibc: threads share one heap, else each reserves 64 MiB of the address space limit.
fn spawn(request: &IntakeRequest<'_>) -> Result<Child, IntakeError> {
    let system = |what| move |source| IntakeError::System { what, source };
    let job = Job {
        declared: request.declared,
        limits: request.limits,
        workers: workers(),
        parent_pid: rustix::process::getpid().as_raw_nonzero().get(),
    };
    let job = serde_json::to_string(&job)
        .map_err(|error| system("describe the job")(io::Error::other(error)))?;
    let copy = |file: &File| file.try_clone().map_err(system("pass on a file"));
    // Not the program's path: that may be replaced by an upgrade while this one runs.
    let program = request
        .program
        .as_deref()
        .unwrap_or(Path::new("/proc/self/exe"));
    Command::new(program)
        .args([CHILD_ARG, &job])
        .env_clear()
        .env("MALLOC_ARENA_MAX", "1")
        .current_dir("/")
        .process_group(0)
        .stdin(copy(&request.source)?)
        .stdout(copy(&request.destination)?)
        .stderr(Stdio::piped())
        .spawn()
        .map_err(system("start the reader"))
}

/// Checks the child's word against the limits and the file that it wrote.
fn accept(
    request: &IntakeRequest<'_>,
    report: Report,
    sandbox: SandboxReport,
) -> Result<Taken, IntakeError> {
    let system = |what| move |source| IntakeError::System { what, source };
    let wrong = |what| Err(IntakeError::Answer { what });
    let destination = request
        .destination
        .metadata()
        .map_err(system("look at the destination"))?;
    if report.virtual_size_bytes > request.limits.max_virtual_bytes
        || destination.len() != report.virtual_size_bytes
    {
        return wrong("the size is not that of the destination");
    }
    if report.data_bytes > report.virtual_size_bytes {
        return wrong("more data than disk");
    }
    let matches_declared = match report.details {
        FormatDetails::Raw => request.declared == DeclaredFormat::Raw,
        FormatDetails::Qcow2 {
            version,
            cluster_size_bytes,
            ..
        } => {
            request.declared == DeclaredFormat::Qcow2
                && matches!(version, 2 | 3)
                && cluster_size_bytes.is_power_of_two()
                && (512..=2 << 20).contains(&cluster_size_bytes)
        }
    };
    if !matches_declared {
        return wrong("impossible format details");
    }
    let Report {
        virtual_size_bytes,
        data_bytes,
        details,
    } = report;
    Ok(Taken {
        virtual_size_bytes,
        data_bytes,
        details,
        sandbox,
    })
}

/// A child that does not outlive its owner, whatever way the owner ends.
struct Running(Child);

impl Running {
    /// Why the pipe closed without an answer.
    fn cause_of_death(&mut self, request: &IntakeRequest<'_>) -> IntakeError {
        match self.0.wait() {
            Ok(status) => describe(status, request),
            Err(source) => IntakeError::System {
                what: "wait for the reader",
                source,
            },
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when it is gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn describe(status: ExitStatus, request: &IntakeRequest<'_>) -> IntakeError {
    match status.signal() {
        Some(libc::SIGXCPU) => IntakeError::CpuLimit {
            seconds: request.limits.cpu_s,
        },
        Some(libc::SIGSYS) => IntakeError::Violation,
        _ => IntakeError::Died {
            how: status.to_string(),
        },
    }
}

struct Watch<'a, 'r> {
    request: &'a IntakeRequest<'r>,
    deadline: Instant,
    lines: Lines,
    progress: (u64, u64),
}

impl Watch<'_, '_> {
    /// The next message, or `None` when the child closed the pipe.
    fn next(&mut self) -> Result<Option<Message>, IntakeError> {
        loop {
            if let Some(message) = self.lines.take_line()? {
                return Ok(Some(message));
            }
            let left = self.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(IntakeError::WallLimit {
                    seconds: self.request.limits.wall_s,
                });
            }
            if !self.lines.wait(left.min(TICK))? {
                self.tell()?;
            } else if self.lines.fill()? == 0 {
                return Ok(None);
            }
        }
    }

    fn tell(&self) -> Result<(), IntakeError> {
        let (done, total) = self.progress;
        if (self.request.progress)(done, total) {
            Ok(())
        } else {
            Err(IntakeError::Cancelled)
        }
    }
}

/// Bounded lines from the pipe.
struct Lines {
    pipe: ChildStderr,
    buffer: Vec<u8>,
    total: usize,
}

impl Lines {
    /// The first complete line of the buffer, parsed.
    fn take_line(&mut self) -> Result<Option<Message>, IntakeError> {
        let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') else {
            if self.buffer.len() > MAX_MESSAGE_BYTES {
                return Err(IntakeError::Answer {
                    what: "a message is too long",
                });
            }
            return Ok(None);
        };
        let line: Vec<u8> = self.buffer.drain(..=end).collect();
        if line.len() > MAX_MESSAGE_BYTES {
            return Err(IntakeError::Answer {
                what: "a message is too long",
            });
        }
        let message = serde_json::from_slice(&line);
        message.map(Some).map_err(|_| IntakeError::Answer {
            what: "a message is not valid",
        })
    }

    /// Whether there is something to read within `time`.
    fn wait(&self, time: Duration) -> Result<bool, IntakeError> {
        let time = Timespec {
            tv_sec: 0,
            tv_nsec: time.subsec_nanos().max(1).into(),
        };
        let mut polled = [PollFd::new(&self.pipe, PollFlags::IN)];
        match rustix::event::poll(&mut polled, Some(&time)) {
            Ok(count) => Ok(count > 0),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(errno) => Err(IntakeError::System {
                what: "wait for the reader",
                source: errno.into(),
            }),
        }
    }

    /// Reads once; 0 at the end.
    fn fill(&mut self) -> Result<usize, IntakeError> {
        let mut piece = [0; MAX_MESSAGE_BYTES];
        let count = match self.pipe.read(&mut piece) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(1),
            Err(source) => {
                return Err(IntakeError::System {
                    what: "listen to the reader",
                    source,
                });
            }
        };
        self.total += count;
        if self.total > MAX_TOTAL_BYTES {
            return Err(IntakeError::Answer {
                what: "too many messages",
            });
        }
        self.buffer.extend_from_slice(&piece[..count]);
        Ok(count)
    }
}

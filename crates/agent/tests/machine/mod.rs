//! A machine for the agent: namespaces of its own with an /etc that lies in a directory of the
//! test, and the test as its host at the other end of a socket.
//!
//! Needs unshare and mount (util-linux) and ip (iproute2), and no root: the user is root in the
//! namespaces only. So the kernel refuses to be reseeded and to have its clock set; that these are
//! done is tested on a booted guest (`testbed/tests/real/forked.rs`).

use stampo_agent_protocol::*;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// `$1` is the test's directory and `$2` the agent.
const SETUP: &str = r#"
set -e
mount --bind "$1/etc" /etc
mount -t tmpfs none /var/lib
mkdir /var/lib/dbus /var/lib/dhcp
echo template > /var/lib/dbus/machine-id
echo 'lease { fixed-address 10.9.8.7; }' > /var/lib/dhcp/dhclient.eth0.leases
mount -t tmpfs none /run
cp -a "$1/run/." /run
mount -t sysfs none /sys
hostname template
ip link add eth0 address 52:54:00:00:00:01 type veth peer name other0
ip link add eth1 address 52:54:00:00:00:02 type veth peer name other1
ip addr add 10.9.8.7/24 dev eth0
ip addr add 10.9.8.8/24 dev eth0
ip addr add 2001:db8::7/64 dev eth0 nodad
ip link set eth0 up
ip link set eth1 up
exec "$2" "$1/socket"
"#;

pub struct Machine {
    dir: tempfile::TempDir,
    agent: Child,
    line: UnixStream,
    decoder: Decoder,
    next_id: u32,
}

/// Files of a template that has booted.
const TEMPLATE: [(&str, &str, u32); 10] = [
    ("hostname", "template\n", 0o644),
    ("hosts", "127.0.0.1 localhost\n127.0.1.1 template\n", 0o644),
    ("machine-id", "11111111111111111111111111111111\n", 0o444),
    ("mailname", "template\n", 0o644),
    ("ssh/sshd_config", "", 0o644),
    ("ssh/ssh_host_rsa_key", "the template's", 0o600),
    ("ssh/ssh_host_rsa_key.pub", "the template's", 0o644),
    ("ssh/ssh_host_ed25519_key-cert.pub", "the template's", 0o644),
    (
        "iscsi/initiatorname.iscsi",
        "InitiatorName=iqn.1993-08.org.debian:01:template\n",
        0o600,
    ),
    (
        "network/interfaces.d/stampo",
        "auto mac/52:54:00:00:00:01=stampo0\n",
        0o600,
    ),
];

impl Machine {
    /// Starts a machine with these hooks.
    pub fn start(hooks: &[(&str, &str, u32)]) -> Self {
        Machine::start_with(hooks, None)
    }

    /// Starts a machine in which an agent has ended that had left this mark of what it held.
    pub fn start_again(mark: &str) -> Self {
        Machine::start_with(&[], Some(mark))
    }

    fn start_with(hooks: &[(&str, &str, u32)], mark: Option<&str>) -> Self {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let mut files = TEMPLATE.to_vec();
        let hooks = hooks.iter().map(|(name, body, mode)| {
            let path: &str = format!("stampo/fork.d/{name}").leak();
            (path, *body, *mode)
        });
        files.extend(hooks);
        for (path, content, mode) in files {
            let path = dir.path().join("etc").join(path);
            std::fs::create_dir_all(path.parent().expect("it has one")).expect("made");
            std::fs::write(&path, content).expect("written");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("set");
        }
        let run = dir.path().join("run/stampo");
        std::fs::create_dir_all(&run).expect("made");
        if let Some(mark) = mark {
            std::fs::write(run.join("held"), mark).expect("written");
        }
        let listener = UnixListener::bind(dir.path().join("socket")).expect("a socket");
        let agent = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "--uts", "--net"])
            .args(["sh", "-c", SETUP, "setup"])
            .arg(dir.path())
            .arg(env!("CARGO_BIN_EXE_stampo-agent"))
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null())
            .spawn()
            .expect("unshare can't be started: apt install util-linux");
        let mut machine = Machine {
            line: UnixStream::pair().expect("sockets").0,
            dir,
            agent,
            decoder: Decoder::new(),
            next_id: 0,
        };
        machine.line = machine.connected(&listener);
        machine
    }

    fn connected(&mut self, listener: &UnixListener) -> UnixStream {
        listener.set_nonblocking(true).expect("set");
        let end = Instant::now() + Duration::from_secs(60);
        while Instant::now() < end {
            match listener.accept() {
                Ok((line, _)) => {
                    line.set_nonblocking(false).expect("set");
                    let patience = Some(Duration::from_secs(60));
                    line.set_read_timeout(patience).expect("set");
                    return line;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => panic!("{error}"),
            }
            let ended = self.agent.try_wait().expect("watched");
            assert!(
                ended.is_none(),
                "no namespaces or no ip (iproute2): {ended:?}"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("the agent never connected")
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) {
        self.line.write_all(bytes).expect("sent");
    }

    /// The next answer, with its id.
    pub fn receive(&mut self) -> (u32, Response) {
        let mut byte = [0];
        loop {
            self.line.read_exact(&mut byte).expect("an answer");
            if let Some(frame) = self.decoder.next(&mut &byte[..]).expect("a frame") {
                return (frame.id, decode_response(&frame).expect("a good answer"));
            }
        }
    }

    pub fn ask(&mut self, request: &Request) -> Response {
        self.next_id += 1;
        let bytes = encode_request(self.next_id, request).expect("a good request");
        self.send(&bytes);
        let (id, response) = self.receive();
        assert_eq!(id, self.next_id);
        response
    }

    pub fn fork(&mut self, request: &ForkRequest) -> ForkReport {
        match self.ask(&Request::Fork(Box::new(request.clone()))) {
            Response::Forked(report) => *report,
            other => panic!("{other:?}"),
        }
    }

    /// A path below the machine's /etc.
    pub fn etc(&self, path: &str) -> PathBuf {
        self.dir.path().join("etc").join(path)
    }

    /// A file below the machine's /etc.
    pub fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.etc(path)).unwrap_or_else(|error| format!("({error})"))
    }

    /// The host hangs up; how the agent ends.
    pub fn hang_up(mut self) -> Option<i32> {
        self.line.shutdown(std::net::Shutdown::Both).expect("open");
        self.agent.wait().expect("waited for").code()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.agent.kill();
        let _ = self.agent.wait();
    }
}

/// What became of an item.
pub fn outcome(report: &ForkReport, item: Item) -> &Outcome {
    let found = report.items.iter().find(|done| done.item == item);
    &found.unwrap_or_else(|| panic!("{item} is missing")).outcome
}

//! A frozen Debian: machines that go on from its memory image are one machine until stampo's agent
//! has made each its own. The second half is the negative control of the first.

use super::canary::Canaries;
use super::instant::all_differ;
use super::{agent_ends, bridged, captured, instant, pooled, removed_home};
use serde_json::Value;
use stampo_agent_protocol::{
    Addressing, Connected, Evidence, Few, ForkRequest, Hex32, Identity, KeyKind, Mac as AgentMac,
    Nic, Request, Response, Secret, SshKeys, unmet,
};
use stampo_core::hardware::{Hardware, NicModel};
use stampo_core::ids::GuestId;
use stampo_core::network::Mac;
use stampo_driver::{
    Disk, DiskFormat, Driver, ExecRequest, GuestDefinition, Link, MemoryImageDir, NicDefinition,
    Start,
};
use stampo_driver_qemu::{AccelerationChoice, Options, QemuDriver};
use stampo_testbed::Stampo;
use std::hash::{DefaultHasher, Hasher};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use uuid::Uuid;

/// How long an answer may take. Emulated guests are slow, and others may slow them down.
const LIMIT: Duration = Duration::from_secs(180);

/// Guests of a driver that are all gone when the test ends.
pub(super) struct Ground {
    pub(super) driver: QemuDriver,
    hardware: Hardware,
    base: PathBuf,
    image: MemoryImageDir,
}

impl Drop for Ground {
    fn drop(&mut self) {
        self.clear();
    }
}

impl Ground {
    /// Ends all guests.
    fn clear(&self) {
        for id in self.driver.list().unwrap_or_default() {
            if let Err(error) = self.driver.ensure_undefined(id) {
                eprintln!("guest {id} may still run: {error}");
            }
        }
    }
}

pub(super) fn now_ns() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    u64::try_from(now.as_nanos()).expect("before 2554")
}

fn random32() -> Hex32 {
    Hex32(rand::random())
}

/// Freezes the version; where its memory image and the image below are.
fn frozen(stampo: &Stampo) -> Ground {
    stampo.ok(&["template", "freeze", "web"]);
    let version = stampo.json(&["template", "show", "web"]);
    let dir = stampo
        .home()
        .join("images")
        .join(version["image"].as_str().expect("an id"));
    let is_memory = |path: &PathBuf| path.to_string_lossy().contains("/memory-");
    let beside = std::fs::read_dir(&dir)
        .expect("listed")
        .flatten()
        .map(|entry| entry.path());
    let options = Options {
        acceleration: AccelerationChoice::Tcg,
        ..Options::default()
    };
    Ground {
        driver: QemuDriver::open(&stampo.path("forks"), options).expect("a driver"),
        hardware: hardware(&version),
        base: dir.join("disk.raw"),
        image: MemoryImageDir::at(beside.into_iter().find(is_memory).expect("a memory image")),
    }
}

fn hardware(version: &Value) -> Hardware {
    serde_json::from_value(version["hardware"].clone()).expect("as the plan has it")
}

impl Ground {
    /// A machine that goes on from the image, with nothing of its own but a MAC.
    fn fork(&self) -> GuestDefinition {
        self.fork_with(Link::User {
            ssh_port: None,
            guest_address: None,
        })
    }

    pub(super) fn fork_with(&self, link: Link) -> GuestDefinition {
        let id = GuestId(Uuid::new_v4());
        let directory = self.driver.guests_dir().join(id.to_string());
        std::fs::create_dir_all(&directory).expect("made");
        let disk = directory.join("disk.qcow2");
        std::fs::copy(self.image.path().join("disk.qcow2"), &disk).expect("copied");
        let mut mode = std::fs::metadata(&disk).expect("there").permissions();
        std::os::unix::fs::PermissionsExt::set_mode(&mut mode, 0o600);
        std::fs::set_permissions(&disk, mode).expect("set");
        let guest = GuestDefinition {
            id,
            name: format!("fork-{}", &id.to_string()[..8]),
            directory,
            hardware: self.hardware.clone(),
            disks: vec![Disk {
                path: disk,
                format: DiskFormat::Qcow2,
                backing: Some(self.base.clone()),
                layers: Vec::new(),
                serial: "root".to_owned(),
            }],
            seed: None,
            nics: vec![NicDefinition {
                mac: Mac::from_random(rand::random()),
                model: NicModel::Virtio,
                link,
            }],
            generation_id: Uuid::new_v4(),
            serial: id.to_string(),
            provenance: "stampo:test".to_owned(),
            start: Start::Resume {
                image: self.image.path().to_owned(),
            },
        };
        self.driver.ensure_defined(&guest).expect("defined");
        guest
    }

    pub(super) fn ask(&self, guest: &GuestDefinition, request: &Request) -> Response {
        let answer = self.driver.ask_agent(guest.id, request, LIMIT);
        answer.unwrap_or_else(|e| panic!("{}: {e}", guest.name))
    }

    fn identify(&self, guest: &GuestDefinition) -> Evidence {
        let nonce = random32();
        match self.ask(guest, &Request::Identify { nonce }) {
            Response::Identity(evidence) => *evidence,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn request(&self, guest: &GuestDefinition) -> ForkRequest {
        let frozen = self.image.complete().expect("a complete image").macs[0];
        let agents = |mac: Mac| mac.to_string().parse::<AgentMac>().expect("a MAC");
        let nic = Nic {
            old_mac: agents(frozen),
            new_mac: agents(guest.nics[0].mac),
            addressing: Addressing::Dhcp,
        };
        ForkRequest {
            clock_unix_ns: now_ns(),
            seed: Secret::new([random32().0, random32().0].concat()),
            nonce: random32(),
            identity: Identity {
                hostname: guest.name.clone(),
                machine_id: guest.id.0.simple().to_string(),
            },
            nics: Few::new(vec![nic]).expect("one"),
            ssh_keys: SshKeys::Make(Few::new(vec![KeyKind::Ed25519]).expect("one")),
            logins: Few::default(),
            run_hooks: true,
            hook_limit_ms: 10_000,
        }
    }

    /// Whether the programs that would speak with the frozen machine's keys and lease are stopped, and
    /// were so when it was frozen (T: proc_pid_stat(5)).
    pub(super) fn nobody_speaks_for_it(&self, guest: &GuestDefinition) {
        let script = "for unit in ssh systemd-networkd; do \
                      pid=$(systemctl show -p MainPID --value $unit); \
                      cut -d' ' -f3 /proc/$pid/stat; done";
        let request = ExecRequest {
            argv: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
            input: Vec::new(),
            timeout: LIMIT,
        };
        let ran = self.driver.agent_exec(guest.id, &request).expect("ran");
        assert_eq!(String::from_utf8_lossy(&ran.stdout), "T\nT\n", "{ran:?}");
    }

    /// Makes the machine its own, then plugs it in.
    fn become_own(&self, guest: &GuestDefinition) -> Evidence {
        let begun = Instant::now();
        self.driver.ensure_running(guest.id).expect("resumed");
        let runs = begun.elapsed();
        let request = self.request(guest);
        let Response::Forked(report) = self.ask(guest, &Request::Fork(Box::new(request.clone())))
        else {
            panic!("no report of a fork")
        };
        let own = begun.elapsed();
        assert_eq!(unmet(&request, &report, now_ns()), []);
        let is_down = report.evidence.interfaces.iter().all(|nic| !nic.link_up);
        assert!(
            is_down,
            "nobody has plugged it in: {:?}",
            report.evidence.interfaces
        );
        self.driver.set_links(guest.id, true).expect("plugged in");
        let connect = stampo_agent_protocol::ConnectRequest { wait_ms: 150_000 };
        let Response::Connected(Connected { complete, .. }) =
            self.ask(guest, &Request::Connect(connect))
        else {
            panic!("no answer about the network")
        };
        assert!(complete, "it has an address");
        eprintln!(
            "runs after {runs:?}, is its own after {own:?}, connected after {:?}",
            begun.elapsed()
        );
        report.evidence
    }
}

fn digest(path: &Path) -> u64 {
    let mut file = std::fs::File::open(path).expect("readable");
    let (mut hasher, mut buffer) = (DefaultHasher::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer).expect("readable") {
            0 => return hasher.finish(),
            count => hasher.write(&buffer[..count]),
        }
    }
}

pub fn forks_of_a_frozen_debian_are_one_machine_until_the_agent_has_been_told() {
    let stampo = Stampo::new();
    let canaries = Canaries::publish(&stampo, "web", "examples/web.toml");
    let ground = frozen(&stampo);
    let made = ["memory", "state", "disk.qcow2"].map(|name| ground.image.path().join(name));
    canaries.assert_absent(&[made.as_slice(), std::slice::from_ref(&ground.base)].concat());
    let files =
        || ["memory", "state", "disk.qcow2"].map(|name| digest(&ground.image.path().join(name)));
    let before = files();

    let own: Vec<Evidence> = (0..3).map(|_| ground.become_own(&ground.fork())).collect();
    all_differ(&own);

    // The same question to machines that were told nothing: they are the frozen one.
    let guests = [ground.fork(), ground.fork()];
    let told_nothing = guests.each_ref().map(|guest| {
        ground.driver.ensure_running(guest.id).expect("resumed");
        ground.identify(guest)
    });
    let [one, two] = &told_nothing;
    let nics = told_nothing.iter().flat_map(|told| told.interfaces.iter());
    assert!(
        nics.clone().all(|nic| !nic.link_up),
        "the frozen one knew that it was unplugged: {told_nothing:?}"
    );
    assert_eq!(
        (&one.machine_id, &one.boot_id),
        (&two.machine_id, &two.boot_id)
    );
    assert_eq!(one.interfaces[0].mac, two.interfaces[0].mac);
    // A kernel that sees the generation id reseeds by itself.
    assert_eq!(one.randomness == two.randomness, !one.has_vmgenid);
    let frozen_mac = one.interfaces[0].mac.to_string();
    ground.nobody_speaks_for_it(&guests[0]);
    agent_ends::what_it_stopped_goes_on(&ground, &stampo);
    ground.clear();
    instant::through_the_program(&stampo);
    pooled::through_the_program(&stampo, || {
        bridged::nothing_of_the_frozen_one_on_the_wire(&stampo, &frozen_mac);
    });
    captured::a_fork_is_frozen_again(&stampo);
    removed_home::its_processes_go_with_it(&stampo);
    assert!(files() == before, "the image is as it was");
}

//! From the command until a user can log in: personalised offline beside cloud-init.

use super::super::lab::{CLOUD, Lab, PLAIN};
use super::super::program::{command, milliseconds, output};
use super::super::row::{Goal, Row, Side, Wanted};
use super::Made;
use super::linked::create_overlay;
use anyhow::{Context, Result, ensure};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A guest that can't be logged in to after this long fails the benchmark.
const LIMIT: Duration = Duration::from_secs(600);

/// Tries to log in until it succeeds. The same for both sides, so that the same is measured.
fn log_in(lab: &Lab, port: &str) -> Result<()> {
    let start = Instant::now();
    loop {
        let mut ssh = command(&["ssh", "-q", "-p", port, "-i"]);
        ssh.arg(lab.key())
            .args(["-o", "StrictHostKeyChecking=no", "-o", "BatchMode=yes"]);
        ssh.args([
            "-o",
            "UserKnownHostsFile=/dev/null",
            "-o",
            "ConnectTimeout=5",
        ]);
        if output(ssh.args(["admin@127.0.0.1", "true"])).is_ok() {
            return Ok(());
        }
        ensure!(start.elapsed() < LIMIT, "no login at port {port}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn stampo_once(lab: &Lab, round: usize) -> Result<f64> {
    let name = format!("ssh-{round}");
    let key = lab.public_key();
    let start = Instant::now();
    lab.ok(&[
        "clone",
        PLAIN,
        &name,
        "--linked",
        "--user",
        "admin:sudo",
        "--ssh-key",
        &key,
        "--no-wait",
    ])?;
    let shown: serde_json::Value = serde_json::from_str(&lab.ok(&["show", &name, "-o", "json"])?)?;
    let address = shown["address"].as_str().context("a forwarded port")?;
    let port = address.rsplit(':').next().context("a port")?;
    let done = log_in(lab, port).map(|()| milliseconds(start));
    lab.ok(&["rm", "--force", &name])?;
    done
}

/// A guest that is ended with its round, however that ends.
struct Guest(Child);

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What people do today: an overlay, a NoCloud seed, and QEMU with the same machine.
fn cloud_init_once(lab: &Lab, base: &Path, round: usize) -> Result<f64> {
    let dir = lab.path(&format!("cloud-{round}"));
    std::fs::create_dir_all(&dir)?;
    let public = std::fs::read_to_string(lab.public_key())?;
    let start = Instant::now();
    let user_data = format!(
        "#cloud-config\nusers:\n- name: admin\n  sudo: ALL=(ALL) NOPASSWD:ALL\n  shell: /bin/bash\n  \
         ssh_authorized_keys:\n  - {}\n",
        public.trim()
    );
    std::fs::write(dir.join("user-data"), user_data)?;
    let meta = format!("instance-id: cloud-{round}\nlocal-hostname: cloud-{round}\n");
    std::fs::write(dir.join("meta-data"), meta)?;
    let words = [
        "genisoimage",
        "-quiet",
        "-output",
        "seed.iso",
        "-volid",
        "cidata",
        "-joliet",
        "-rock",
    ];
    output(
        command(&words)
            .args(["user-data", "meta-data"])
            .current_dir(&dir),
    )?;
    output(&mut create_overlay(&dir.join("disk.qcow2"), base))?;
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let guest = Guest(qemu(port).current_dir(&dir).spawn().context("start QEMU")?);
    log_in(lab, &port.to_string())?;
    let ms = milliseconds(start);
    drop(guest);
    std::fs::remove_dir_all(&dir)?;
    Ok(ms)
}

/// QEMU with the processor, memory, bus and devices that stampo gives the guest.
fn qemu(port: u16) -> Command {
    let mut qemu = command(&[
        "qemu-system-x86_64",
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
    ]);
    qemu.args([
        "-machine",
        "q35,graphics=off,vmport=off",
        "-accel",
        "tcg,thread=multi",
    ]);
    qemu.args(["-cpu", "qemu64,+rdrand,+rdseed", "-smp", "2", "-m", "1024M"]);
    qemu.args([
        "-object",
        "rng-random,id=rng0,filename=/dev/urandom",
        "-device",
        "virtio-rng-pci,rng=rng0",
    ]);
    qemu.args([
        "-drive",
        "file=disk.qcow2,format=qcow2,if=virtio,cache=none,discard=unmap",
    ]);
    qemu.args(["-drive", "file=seed.iso,format=raw,if=virtio,readonly=on"]);
    qemu.args([
        "-netdev",
        &format!("user,id=net0,hostfwd=tcp:127.0.0.1:{port}-:22"),
    ]);
    qemu.args([
        "-device",
        "virtio-net-pci,netdev=net0",
        "-serial",
        "file:console.log",
    ]);
    qemu.stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    qemu
}

pub fn make(lab: &Lab) -> Result<Made<'_>> {
    let base = lab.image(CLOUD)?;
    let sides = vec![
        Side {
            name: "stampo clone".to_owned(),
            how: "stampo clone plain NAME --linked --user admin:sudo --ssh-key FILE --no-wait; ssh until it succeeds"
                .to_owned(),
            ours: true,
            run: Box::new(move |round| stampo_once(lab, round)),
        },
        Side {
            name: "the same guest through cloud-init".to_owned(),
            how: "genisoimage seed; qemu-img create -b; qemu-system-x86_64; ssh until it succeeds".to_owned(),
            ours: false,
            run: Box::new(move |round| cloud_init_once(lab, &base, round)),
        },
    ];
    Ok(Made::Rows(vec![Row {
        id: "ssh",
        work: "clone → ssh answers (personalised offline, no cloud-init)".to_owned(),
        sides,
        goals: vec![Goal {
            ours: 0,
            beside: 1,
            wanted: Wanted::FasterBy(2.0),
        }],
        rounds: 3,
        note:
            "Until the first login with the user's key succeeds. The guests are emulated, with 2 \
               processors and 1 GiB."
                .to_owned(),
    }]))
}

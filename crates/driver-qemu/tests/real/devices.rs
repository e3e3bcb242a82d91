//! Devices that need other programs or files: firmware, TPM, and every bus.

use crate::support::{Ground, await_that, processes_of};
use stampo_core::hardware::Firmware;
use stampo_driver::conformance::{Fixture, Temper};
use stampo_driver::{Driver, Ensured, StopMethod};
use std::fs;

#[test]
fn a_uefi_guest_has_variables_of_its_own_which_are_kept() {
    let ground = Ground::new();
    let driver = ground.driver();
    let mut guest = ground.guest(Temper::Deaf);
    guest.hardware.firmware = Firmware::Uefi;
    driver
        .ensure_defined(&guest)
        .expect("this test needs UEFI firmware (package ovmf)");
    let vars = guest.directory.join("vars.fd");
    let size = fs::metadata(&vars).expect("made").len();
    driver.ensure_running(guest.id).expect("started");
    driver
        .ensure_stopped(guest.id, StopMethod::Kill)
        .expect("stopped");
    let mut marked = fs::read(&vars).expect("readable");
    *marked.last_mut().expect("not empty") ^= 0x55;
    fs::write(&vars, &marked).expect("written");
    guest.name = "renamed".to_owned();
    assert_eq!(
        driver.ensure_defined(&guest).expect("redefined"),
        Ensured::Changed
    );
    assert_eq!(fs::read(&vars).expect("kept"), marked);
    assert_eq!(marked.len() as u64, size);
    driver.ensure_undefined(guest.id).expect("forgotten");
    assert!(!vars.exists());
}

#[test]
fn a_tpm_lives_as_long_as_its_guest_and_keeps_its_state() {
    let ground = Ground::new();
    let driver = ground.driver();
    let mut guest = ground.guest(Temper::Deaf);
    guest.hardware.tpm = true;
    driver
        .ensure_defined(&guest)
        .expect("this test needs swtpm (package swtpm)");
    driver.ensure_running(guest.id).expect("started");
    let state = guest.directory.join("tpm/tpm2-00.permall");
    await_that("the TPM has made its seeds", || state.exists());
    driver
        .ensure_stopped(guest.id, StopMethod::Kill)
        .expect("stopped");
    await_that("the TPM ends with its guest", || processes_of(&guest) == 0);
    assert!(state.exists(), "a TPM keeps its keys");
    driver.ensure_running(guest.id).expect("started again");
    driver.ensure_undefined(guest.id).expect("forgotten");
    await_that("nothing is left running", || processes_of(&guest) == 0);
    assert!(!state.exists());
}

#[test]
fn every_bus_starts_with_a_seed() {
    use stampo_core::hardware::{DiskBus, NicModel};
    let ground = Ground::new();
    let driver = ground.driver();
    for bus in [DiskBus::Virtio, DiskBus::Scsi, DiskBus::Sata, DiskBus::Nvme] {
        let mut guest = ground.guest(Temper::Deaf);
        let seed = guest.directory.join("seed.iso");
        fs::write(&seed, vec![0; 1 << 20]).expect("written");
        guest.seed = Some(seed);
        guest.hardware.disk_bus = bus;
        guest.nics[0].model = NicModel::E1000e;
        driver.ensure_defined(&guest).expect("defined");
        driver
            .ensure_running(guest.id)
            .unwrap_or_else(|e| panic!("{bus:?}: {e}"));
        driver.ensure_undefined(guest.id).expect("forgotten");
    }
}

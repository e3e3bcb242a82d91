//! Where cloud-init is present it runs the user's data and fights nothing that is personalised.

use stampo_testbed::Stampo;

pub fn cloud_init_runs_user_data_and_leaves_identity_alone() {
    let stampo = Stampo::new();
    stampo.publish("cloud", "testbed/recipes/cloud.toml");
    let user_data = stampo.path("user-data");
    let text = "#cloud-config\nwrite_files:\n- path: /run/from-user-data\n  content: 'yes'\nruncmd:\n- [touch, /run/ran]\n";
    std::fs::write(&user_data, text).expect("written");
    let user_data = user_data.display().to_string();
    let made = stampo.clones(
        "cloud",
        "cloud-1",
        &["--user-data", &user_data, "--user", "admin:sudo"],
    );
    let pinned = made[0]["host_keys"].as_array().expect("keys").clone();
    stampo.agent("cloud-1", "cloud-init status --wait >/dev/null; :");
    assert_eq!(
        stampo.agent("cloud-1", "cat /run/from-user-data; ls /run/ran"),
        "yes/run/ran"
    );
    assert_eq!(stampo.agent("cloud-1", "hostname"), "cloud-1");
    assert_eq!(stampo.ssh("admin@cloud-1", "sudo id -u"), "0");
    let keys = stampo.agent("cloud-1", "cat /etc/ssh/ssh_host_*_key.pub");
    for key in pinned {
        assert!(
            keys.contains(key.as_str().expect("text")),
            "cloud-init has replaced {key}"
        );
    }
    let before = stampo.agent(
        "cloud-1",
        "cat /etc/machine-id /etc/ssh/ssh_host_ed25519_key.pub",
    );
    stampo.ok(&["stop", "cloud-1"]);
    stampo.ok(&["start", "--wait", "cloud-1", "--timeout", "900"]);
    assert_eq!(
        stampo.agent(
            "cloud-1",
            "cat /etc/machine-id /etc/ssh/ssh_host_ed25519_key.pub"
        ),
        before
    );
}

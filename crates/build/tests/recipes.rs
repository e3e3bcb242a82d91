//! Recipes as people write them: what a good one means, and what each bad one is told.

use stampo_build::{BootMethod, Loaded, Recipe, RecipeFile, inherit};
use std::path::Path;

fn load(text: &str) -> Result<Recipe, String> {
    let loaded = Loaded::from_toml(text, Path::new("."));
    loaded
        .map(|loaded| loaded.recipe)
        .map_err(|error| error.to_string())
}

#[test]
fn an_empty_recipe_is_a_small_debian_that_starts_anywhere() {
    let recipe = load("").expect("valid");
    assert_eq!(recipe.release, "bookworm");
    assert_eq!(recipe.disk.boot.len(), 2);
    assert!(recipe.slim && recipe.guest_agent && recipe.ssh_server && !recipe.cloud_init);
    let packages = recipe.all_packages();
    for expected in [
        "linux-image-cloud-amd64",
        "openssh-server",
        "qemu-guest-agent",
        "shim-signed",
    ] {
        assert!(packages.contains(expected), "{expected}");
    }
    assert!(!packages.contains("sudo") && !packages.contains("locales"));
}

#[test]
fn every_key_is_taken() {
    let recipe = load(include_str!("recipes/full.toml")).expect("valid");
    assert_eq!(recipe.release, "trixie");
    assert_eq!(recipe.kernel_package(), "linux-image-amd64");
    assert_eq!(recipe.disk.boot, [BootMethod::Uefi].into());
    assert_eq!(recipe.sysctl["net.ipv4.ip_forward"], "1");
    assert_eq!(recipe.sysctl["net.ipv4.tcp_rmem"], "4096 87380 6291456");
    let file = &recipe.files[0];
    assert_eq!(
        (file.path.as_str(), file.mode, file.group.as_str()),
        ("/etc/motd", 0o640, "adm")
    );
    let packages = recipe.all_packages();
    for implied in ["sudo", "locales", "cloud-init", "ifupdown"] {
        assert!(packages.contains(implied), "{implied}");
    }
    assert!(
        !packages.contains("systemd-resolved"),
        "the network is left to ifupdown"
    );
    let text = serde_json::to_string(&recipe).expect("a recipe is stored with its version");
    assert_eq!(
        serde_json::from_str::<Recipe>(&text).expect("and read again"),
        recipe
    );
}

/// A bad recipe, and a part of what its author is told.
const BAD: [(&str, &str); 47] = [
    ("pakages = []", "did you mean \"packages\"?"),
    ("[disk]\nsise = '4G'", "did you mean \"size\"?"),
    ("[hardware]\nmemmory = '1G'", "did you mean \"memory\"?"),
    ("[hardware]\nfirmware = 'uefy'", "did you mean \"uefi\"?"),
    (
        "[[users]]\nname = 'a'\nssh_keys = []",
        "did you mean \"ssh_authorized_keys\"?",
    ),
    ("\n\nxyzzy = 1", "line 3: there is no key \"xyzzy\""),
    ("packages = 'nginx'", "invalid type: string"),
    ("packages = [", "line 1"),
    ("release = 'Debian 12'", "write a Debian code name"),
    ("release = '../etc'", "write a Debian code name"),
    ("components = []", "name at least one"),
    ("components = ['main contrib']", "write names such as main"),
    ("mirror = 'ftp://x/debian'", "http://, https:// or file:///"),
    (
        "mirror = 'http://x/ [trusted=yes]'",
        "http://, https:// or file:///",
    ),
    ("sources = ['deb-src http://x y z']", "one line each"),
    (
        "sources = [\"deb http://x y z\\ndeb http://evil y z\"]",
        "one line each",
    ),
    (
        "mirror = 'http://x/debian'\nsources = ['deb http://x y z']",
        "mirror together with sources",
    ),
    ("snapshot = 'yesterday'", "20260101T000000Z"),
    (
        "snapshot = '20260101T000000Z'",
        "the snapshot service in mirror",
    ),
    ("source_date_epoch = 0", "seconds since 1970"),
    ("source_date_epoch = 99999999999", "before the year 2038"),
    ("source_date_epoch = -1", "invalid value"),
    ("packages = ['Nginx']", "names of Debian packages"),
    ("packages = ['--force']", "names of Debian packages"),
    ("packages = ['nginx,vim']", "names of Debian packages"),
    ("packages = ['vim-']", "names of Debian packages"),
    ("kernel = 'linux image'", "cloud, generic or the name"),
    ("kernel_command_line = 'a\"b'", "without quotes"),
    ("kernel_command_line = 'root=/dev/sda1'", "leave out root="),
    ("locale = 'de_DE'", "UTF-8 locale"),
    ("locale = 'de_DE.UTF-8; reboot'", "UTF-8 locale"),
    ("time_zone = '../../etc/passwd'", "IANA name"),
    ("[disk]\nsize = '100M'", "from 768M"),
    ("[disk]\nsize = 'big'", "read \"big\" as a size"),
    ("[disk]\nboot = []", "name bios, uefi or both"),
    (
        "[disk]\nboot = ['bios']\n[hardware]\nfirmware = 'uefi'",
        "must start from that firmware",
    ),
    ("[disk]\nfilesystem = 'xfs'", "there is no value \"xfs\""),
    ("[hardware]\ncpus = 0", "choose 1 to 255"),
    ("[hardware]\ndisk_bus = 'sata'", "no AHCI driver"),
    ("[services]\nenable = ['a b']", "names of systemd units"),
    (
        "[services]\nenable = ['a']\nmask = ['a']",
        "a unit is named in both",
    ),
    ("[sysctl]\n'vm.x' = \"1\\nkernel.y = 2\"", "on one line"),
    (
        "[[files]]\npath = '/etc/../x'\ncontent = ''",
        "without '.' and '..'",
    ),
    (
        "[[files]]\npath = '/run/x'\ncontent = ''",
        "empty at every boot",
    ),
    (
        "[[files]]\npath = '/x'\ncontent = ''\nmode = 'rw'",
        "in octal",
    ),
    ("[[files]]\npath = '/x'", "give source or content"),
    ("[[users]]\nname = 'Root'", "start with a-z"),
];

#[test]
fn every_bad_recipe_is_told_what_is_wrong() {
    for (text, expected) in BAD {
        match load(text) {
            Ok(_) => panic!("{text:?} must be refused"),
            Err(error) => assert!(error.contains(expected), "{text:?}: {error}"),
        }
    }
}

#[test]
fn files_of_the_host_stay_inside_the_recipes_directory() {
    let outer = tempfile::tempdir().expect("a directory");
    let dir = outer.path().join("recipe");
    std::fs::create_dir_all(dir.join("site/sub")).expect("a directory");
    std::fs::write(outer.path().join("secret"), "s").expect("a file");
    std::fs::write(dir.join("site/b"), "b").expect("a file");
    std::fs::write(dir.join("site/sub/a"), "a").expect("a file");
    std::os::unix::fs::symlink("../secret", dir.join("link")).expect("a link");
    let load = |source: &str| {
        Loaded::from_toml(
            &format!("[[files]]\npath = '/srv'\nsource = '{source}'"),
            &dir,
        )
        .map_err(|error| error.to_string())
    };
    let files = load("site").expect("a directory of files").recipe.files;
    let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, ["/srv/b", "/srv/sub/a"]);
    for (source, expected) in [
        ("../secret", "without '..'"),
        ("/etc/hostname", "relative to the recipe"),
        ("link", "leads out of the recipe's directory"),
        ("missing", "read \""),
    ] {
        let error = load(source).expect_err("must be refused");
        assert!(error.contains(expected), "{source}: {error}");
    }
    std::os::unix::fs::symlink("/etc", dir.join("site/etc")).expect("a link");
    assert!(
        load("site")
            .expect_err("a link inside")
            .contains("neither a file nor a directory")
    );
}

#[test]
fn a_child_adds_to_its_parent_and_changes_nothing() {
    let parent = load("packages = ['nginx-light']\n[disk]\nsize = '4G'").expect("valid");
    let child = |text: &str| {
        let loaded = Loaded::from_toml(text, Path::new(".")).expect("valid");
        inherit(&parent, None, &loaded.written, &loaded.recipe).map_err(|error| error.to_string())
    };
    let sum =
        child("from = 'web@3'\npackages = ['vim']\n[disk]\nsize = '2G'").expect("an addition");
    assert!(sum.packages.contains("nginx-light") && sum.packages.contains("vim"));
    assert_eq!(sum.disk.size, parent.disk.size, "a disk never shrinks");
    for (text, key) in [
        ("release = 'trixie'", "release"),
        ("kernel = 'generic'", "kernel"),
        ("guest_agent = false", "guest_agent"),
        ("mirror = 'http://x/debian'", "mirror"),
    ] {
        let error = child(text).expect_err("must be refused");
        assert!(
            error.contains(&format!("change {key} of a version")),
            "{error}"
        );
    }
}

#[test]
fn the_example_of_the_demo_is_valid() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/web.toml");
    let loaded = Loaded::from_path(&path).expect("examples/web.toml");
    assert!(loaded.recipe.packages.contains("nginx-light"));
}

#[test]
fn a_recipe_file_can_be_written_back() {
    let file = RecipeFile::from_toml(include_str!("recipes/full.toml")).expect("valid");
    let text = toml::to_string(&file).expect("TOML");
    assert_eq!(RecipeFile::from_toml(&text).expect("valid"), file);
}

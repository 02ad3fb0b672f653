//! Packs on disks: raw virtio disks that carry one sealed pack, or one signed manifest of a model, and nothing else.
//!
//! A disk is the host's. Its serial only says which of the measured configuration's models it claims to hold; what it holds
//! is proven when the agent opens the pack, under the weights root of that configuration. No file system of a host's disk is
//! mounted, so its bytes reach the pack's reader alone (and the kernel's search for partitions).

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use hanzo_attestation::config::{CONFIG_BYTES_MAX, Config};

use crate::cmdline::read;
use crate::error::InitError;

/// A disk's serial is this and the position of its model in the configuration, from 0.
pub const PACK_SERIAL: &str = "pack";
/// The same for the disk of a model's signed manifest.
pub const MANIFEST_SERIAL: &str = "model";
/// Longest serial of a virtio disk (`VIRTIO_BLK_ID_BYTES`).
const SERIAL_BYTES_MAX: usize = 20;
/// Most block devices that are looked at.
const DEVICES_MAX: usize = 256;

/// Makes `packs/<model>.pack` a link to the disk of each model of the configuration, and `packs/<model>.model.json` one to that of its
/// manifest; gives the number of packs.
///
/// A model without a disk gets no link: the agent then refuses to start, and says which pack it misses. Disks with another
/// serial are left alone.
///
/// # Errors
/// [`InitError::Disk`] if two disks claim to hold one pack; [`InitError::File`].
pub(crate) fn link_packs(config: &Path, block: &Path, devices: &Path, packs: &Path) -> Result<usize, InitError> {
    let config = Config::parse(&read(config, CONFIG_BYTES_MAX)?)?;
    let disks = disks(block)?;
    let mut linked = 0;
    for (position, model) in config.models.iter().enumerate() {
        for (what, ending) in [(PACK_SERIAL, "pack"), (MANIFEST_SERIAL, "model.json")] {
            let serial = format!("{what}{position}");
            let mut holding = disks.iter().filter(|disk| disk.serial == serial);
            let Some(disk) = holding.next() else { continue };
            if let Some(other) = holding.next() {
                return Err(InitError::Disk {
                    serial,
                    first: disk.name.clone(),
                    second: other.name.clone(),
                });
            }
            let link = packs.join(format!("{}.{ending}", model.name));
            symlink(devices.join(&disk.name), &link).map_err(|source| InitError::File { path: link, source })?;
            linked += usize::from(what == PACK_SERIAL);
        }
    }
    Ok(linked)
}

struct Disk {
    name: String,
    serial: String,
}

/// The disks that have a serial, by name. None without the kernel's block devices.
fn disks(block: &Path) -> Result<Vec<Disk>, InitError> {
    let entries = match fs::read_dir(block) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|source| InitError::File {
            path: block.into(),
            source,
        })?,
    };
    let mut disks = Vec::new();
    for entry in entries.flatten().take(DEVICES_MAX) {
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        // Only a disk that has one has this file; a virtio disk is asked when it is read.
        let Ok(serial) = fs::read(entry.path().join("serial")) else {
            continue;
        };
        let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let serial = serial.trim_ascii();
        if serial.len() <= SERIAL_BYTES_MAX && serial.iter().all(plain) {
            let serial = String::from_utf8_lossy(serial).into_owned();
            disks.push(Disk { name, serial });
        }
    }
    disks.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(disks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    struct Machine(tempfile::TempDir);

    impl Machine {
        fn new(disks: &[(&str, &str)]) -> Self {
            let machine = Self(tempfile::tempdir().unwrap());
            fs::create_dir(machine.at("block")).unwrap();
            fs::create_dir(machine.at("packs")).unwrap();
            for (name, serial) in disks {
                let disk = machine.at("block").join(name);
                fs::create_dir(&disk).unwrap();
                fs::write(disk.join("serial"), serial).unwrap();
            }
            fs::create_dir(machine.at("block/loop0")).unwrap();
            let model = |name: &str, digit: &str| {
                let root = digit.repeat(64);
                format!(
                    "[[models]]\nname = \"{name}\"\nweights_root = \"{root}\"\nkey_id = \"t/model/{name}\"\ncontext_tokens = 512\n"
                )
            };
            let (ml_dsa, ed25519) = ("00".repeat(1952), "00".repeat(32));
            let (first, second) = (model("small", "1"), model("large", "2"));
            let config = format!(
                "version = 1\noperator = \"o\"\nimage = \"dev\"\nrequired_tier = 1\nkeyset_lifetime_s = 3600\nauth = \"none\"\n\
                 [kbs]\ngrant_lifetime_s = 60\n[kbs.signer]\nsuite = \"ml-dsa-65\"\nml_dsa = \"{ml_dsa}\"\n\
                 ed25519 = \"{ed25519}\"\n[store]\nid = \"s\"\nkey_id = \"t/store/s\"\n{first}{second}[limits]\n\
                 body_bytes_max = 65536\nconcurrent_requests = 2\nrequest_timeout_s = 60\n"
            );
            fs::write(machine.at("config.toml"), config).unwrap();
            machine
        }

        fn at(&self, path: &str) -> PathBuf {
            self.0.path().join(path)
        }

        fn link(&self) -> Result<usize, InitError> {
            let (config, block) = (self.at("config.toml"), self.at("block"));
            link_packs(&config, &block, Path::new("/dev"), &self.at("packs"))
        }

        fn linked(&self, model: &str) -> Option<PathBuf> {
            fs::read_link(self.at("packs").join(format!("{model}.pack"))).ok()
        }
    }

    #[test]
    fn each_model_gets_the_disk_that_names_its_position() {
        let machine = Machine::new(&[
            ("vdb", "pack0"),
            ("vda", "pack1\n"),
            ("vdc", "pack2"),
            ("vdd", "other"),
            ("vde", "model1"),
        ]);
        assert_eq!(machine.link().unwrap(), 2);
        let manifest = |model: &str| fs::read_link(machine.at("packs").join(format!("{model}.model.json"))).ok();
        assert_eq!((manifest("small"), manifest("large")), (None, Some("/dev/vde".into())));
        assert_eq!(machine.linked("small"), Some("/dev/vdb".into()));
        assert_eq!(machine.linked("large"), Some("/dev/vda".into()));
    }

    #[test]
    fn a_model_without_a_disk_gets_none() {
        let machine = Machine::new(&[
            ("vda", "pack01"),
            ("vdb", "PACK0"),
            ("vdc", "pack1"),
            ("vdd", "../pack0"),
        ]);
        assert_eq!(machine.link().unwrap(), 1);
        assert_eq!(machine.linked("small"), None);
        fs::remove_dir_all(machine.at("block")).unwrap();
        assert_eq!(machine.link().unwrap(), 0);
    }

    #[test]
    fn two_disks_for_one_pack_are_refused() {
        let machine = Machine::new(&[("vda", "pack1"), ("vdb", "pack1")]);
        let error = machine.link().unwrap_err();
        assert_eq!(error.code(), "init.disk");
        assert!(error.to_string().contains("vda and vdb"), "{error}");
    }
}

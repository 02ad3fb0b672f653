//! Small packages and programs made here, so that a stranger's clone can make an image without Debian's archive.
#![allow(dead_code, reason = "each test file uses a part")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use hanzo_attestation::Digest256;
use hanzo_image::assemble::Parts;
use hanzo_image::fetch::Source;
use hanzo_image::inputs::{Inputs, Package};
use hanzo_image::{ImageError, Recipe};
use hanzo_init::{Network, Profile};

/// A Debian package with these files, its data archive compressed by zstd.
pub fn deb(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        tar.append_data(&mut header, format!("./{path}"), *bytes).unwrap();
    }
    let data = zstd::bulk::compress(&tar.into_inner().unwrap(), 1).unwrap();
    let mut out = b"!<arch>\n".to_vec();
    member(&mut out, "debian-binary", b"2.0\n");
    member(&mut out, "control.tar.zst", b"odd");
    member(&mut out, "data.tar.zst", &data);
    out
}

pub fn member(out: &mut Vec<u8>, name: &str, bytes: &[u8]) {
    let size = bytes.len();
    out.extend(format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{size:<10}`\n", 0, 0, 0, 100644).bytes());
    out.extend(bytes);
    if size % 2 == 1 {
        out.push(b'\n');
    }
}

/// A static program of 64-bit x86 with nothing in it.
pub fn program() -> Vec<u8> {
    elf(&[])
}

/// One that asks for a dynamic linker.
pub fn dynamic_program() -> Vec<u8> {
    let mut bytes = program();
    bytes[32..40].copy_from_slice(&64_u64.to_le_bytes());
    bytes[54..58].copy_from_slice(&[56, 0, 1, 0]);
    bytes.splice(64..64, [[3].to_vec(), vec![0; 55]].concat());
    bytes
}

/// An ELF file whose section `.modinfo` holds this.
fn elf(modinfo: &[u8]) -> Vec<u8> {
    let names = b"\0.modinfo\0.shstrtab\0";
    let mut bytes = vec![0; 64];
    bytes[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    bytes[18] = 62;
    let (names_at, modinfo_at) = (64, 64 + names.len());
    bytes.extend(names);
    bytes.extend(modinfo);
    let table = bytes.len() as u64;
    bytes[40..48].copy_from_slice(&table.to_le_bytes());
    bytes[58..64].copy_from_slice(&[64, 0, 3, 0, 2, 0]);
    for (name, at, size) in [(0, 0, 0), (1, modinfo_at, modinfo.len()), (10, names_at, names.len())] {
        let mut header = [0; 64];
        header[..4].copy_from_slice(&u32::to_le_bytes(name));
        header[24..32].copy_from_slice(&(at as u64).to_le_bytes());
        header[32..40].copy_from_slice(&(size as u64).to_le_bytes());
        bytes.extend(header);
    }
    bytes
}

/// A module that needs these, as xz (stored by LZMA2 without compression, which xz allows).
pub fn module(name: &str, depends: &str) -> Vec<u8> {
    elf(format!("license=GPL\0depends={depends}\0name={name}\0").as_bytes())
}

/// `xz` of bytes below 64 KiB, as one uncompressed LZMA2 chunk.
pub fn xz(bytes: &[u8]) -> Vec<u8> {
    let crc = |bytes: &[u8]| {
        let mut crc = u32::MAX;
        for byte in bytes {
            crc ^= u32::from(*byte);
            for _ in 0..8 {
                crc = if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
            }
        }
        (!crc).to_le_bytes()
    };
    let pad = |bytes: &mut Vec<u8>| {
        while bytes.len() % 4 != 0 {
            bytes.push(0);
        }
    };
    let varint = |mut number: usize| {
        let mut out = Vec::new();
        while number >= 0x80 {
            out.push(number as u8 | 0x80);
            number >>= 7;
        }
        out.push(number as u8);
        out
    };
    let flags = [0, 1]; // check: CRC32
    let mut out = b"\xFD7zXZ\0".to_vec();
    out.extend(flags);
    out.extend(crc(&flags));
    // Block header of 12 bytes: one filter, LZMA2 with a dictionary of 64 KiB.
    let header = [2, 0, 0x21, 1, 8, 0, 0, 0];
    out.extend(header);
    out.extend(crc(&header));
    let mut block = vec![1];
    block.extend((bytes.len() as u16 - 1).to_be_bytes());
    block.extend(bytes);
    block.push(0);
    let unpadded = 12 + block.len() + 4;
    out.extend(&block);
    pad(&mut out);
    out.extend(crc(bytes));
    let mut index = vec![0, 1];
    index.extend(varint(unpadded));
    index.extend(varint(bytes.len()));
    pad(&mut index);
    out.extend(&index);
    out.extend(crc(&index));
    let mut footer = ((index.len() as u32 + 4) / 4 - 1).to_le_bytes().to_vec();
    footer.extend(flags);
    out.extend(crc(&footer));
    out.extend(footer);
    out.extend(b"YZ");
    out
}

/// A PE32+ file with these sections, aligned to 512 bytes in the file and to 4096 in memory, with room for more headers.
pub fn pe(sections: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = vec![0; 0x400];
    out[..2].copy_from_slice(b"MZ");
    out[0x3c] = 0x80;
    let optional = 0x80 + 24;
    let mut put = |at: usize, value: &[u8]| out[at..at + value.len()].copy_from_slice(value);
    put(0x80, b"PE\0\0\x64\x86");
    put(0x86, &(sections.len() as u16).to_le_bytes());
    put(0x80 + 20, &240_u16.to_le_bytes());
    put(optional, &0x20b_u16.to_le_bytes());
    for (field, value) in [(32, 4096_u32), (36, 512), (60, 0x400), (108, 16)] {
        put(optional + field, &value.to_le_bytes());
    }
    put(optional + 70, &0x100_u16.to_le_bytes());
    for (number, (name, data)) in sections.iter().enumerate() {
        let at = optional + 240 + 40 * number;
        let (address, place) = (4096 * (number as u32 + 1), out.len() as u32);
        let raw = data.len().next_multiple_of(512);
        out[at..at + name.len()].copy_from_slice(name.as_bytes());
        for (field, value) in [(8, data.len() as u32), (12, address), (16, raw as u32), (20, place)] {
            out[at + field..at + field + 4].copy_from_slice(&value.to_le_bytes());
        }
        out.extend(*data);
        out.resize(place as usize + raw, 0);
    }
    out
}

/// What stands in front of a unified kernel image.
pub fn stub() -> Vec<u8> {
    pe(&[(".text", b"the stub"), (".sbat", b"sbat,1,header\nstub,1,its line\n\0")])
}

/// The files of a kernel package that has what images ask for.
pub fn kernel_files() -> Vec<(String, Vec<u8>)> {
    let at = |name: &str| format!("usr/lib/modules/6.0-test/kernel/{name}.ko.xz");
    vec![
        ("boot/vmlinuz-6.0-test".into(), b"MZ a kernel".to_vec()),
        ("boot/config-6.0-test".into(), b"CONFIG_X=y".to_vec()),
        (
            "usr/lib/modules/6.0-test/modules.builtin".into(),
            b"kernel/drivers/virt/coco/tsm.ko\n".to_vec(),
        ),
        (at("net/virtio_net"), xz(&module("virtio_net", "net_failover"))),
        (at("net/net_failover"), xz(&module("net_failover", "failover"))),
        (at("net/failover"), xz(&module("failover", ""))),
        (at("block/virtio_blk"), xz(&module("virtio_blk", ""))),
        (at("fs/configfs"), xz(&module("configfs", ""))),
        (at("crypto/gcm"), xz(&module("gcm", "crypto_null"))),
        (at("crypto/crypto_null"), xz(&module("crypto_null", ""))),
        (at("crypto/gf128mul"), xz(&module("gf128mul", ""))),
        (at("crypto/ghash-generic"), xz(&module("ghash_generic", "gf128mul"))),
        (at("virt/sev-guest"), xz(&module("sev_guest", "tsm,configfs"))),
        (at("virt/tdx-guest"), xz(&module("tdx_guest", "tsm"))),
        (at("watchdog/i6300esb"), xz(&module("i6300esb", "watchdog"))),
        (at("watchdog/watchdog"), xz(&module("watchdog", ""))),
    ]
}

pub fn kernel_deb(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let files: Vec<_> = files.iter().map(|(path, bytes)| (path.as_str(), &bytes[..])).collect();
    deb(&files)
}

/// Packages in a directory, and their list.
pub struct Pantry {
    pub dir: tempfile::TempDir,
    pub inputs: Inputs,
}

impl Pantry {
    pub fn new() -> Self {
        Self::with_kernel(&kernel_deb(&kernel_files()))
    }

    pub fn with_kernel(kernel: &[u8]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let firmware = deb(&[
            ("usr/share/OVMF/OVMF_CODE_4M.fd", b"firmware"),
            ("usr/share/OVMF/OVMF_VARS_4M.fd", b"variables"),
        ]);
        let stub = deb(&[("usr/lib/systemd/boot/efi/linuxx64.efi.stub", &stub())]);
        let shell = deb(&[("usr/bin/busybox", &program())]);
        let put = |name: &str, bytes: &[u8]| {
            fs::write(dir.path().join(format!("{name}_1_amd64.deb")), bytes).unwrap();
            Package {
                package: name.into(),
                release: "1".into(),
                suite: "trixie".into(),
                pool: format!("pool/main/{name}_1_amd64.deb"),
                bytes: bytes.len() as u64,
                sha256: Digest256::of(bytes),
            }
        };
        let inputs = Inputs {
            version: 1,
            kernel: put("kernel", kernel),
            own_kernel: None,
            firmware: put("firmware", &firmware),
            shell: put("shell", &shell),
            stub: put("stub", &stub),
        };
        Self { dir, inputs }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a program and gives its path.
    pub fn program(&self, name: &str, bytes: &[u8]) -> PathBuf {
        fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }

    pub fn parts(&self, profile: Profile) -> Result<Parts, ImageError> {
        let guest = self.program("hanzo-guest", &program());
        self.parts_with(profile, &guest, None)
    }

    pub fn parts_with(&self, profile: Profile, guest: &Path, engine: Option<&Path>) -> Result<Parts, ImageError> {
        let source = Source::Directory(self.dir.path().to_owned());
        Parts::gather(self.inputs.clone(), &source, profile, guest, engine, &|_| ())
    }
}

pub fn config() -> String {
    let (ml_dsa, ed25519, root) = ("00".repeat(1952), "00".repeat(32), "11".repeat(32));
    format!(
        "version = 1\noperator = \"o\"\nimage = \"dev\"\nrequired_tier = 1\nkeyset_lifetime_s = 3600\nauth = \"none\"\n\
         [kbs]\ngrant_lifetime_s = 60\n[kbs.signer]\nsuite = \"ml-dsa-65\"\nml_dsa = \"{ml_dsa}\"\n\
         ed25519 = \"{ed25519}\"\n[store]\nid = \"s\"\nkey_id = \"t/store/s\"\n[[models]]\nname = \"m\"\n\
         weights_root = \"{root}\"\nkey_id = \"t/model/m\"\ncontext_tokens = 512\n[limits]\n\
         body_bytes_max = 65536\nconcurrent_requests = 2\nrequest_timeout_s = 60\n"
    )
}

pub fn recipe(profile: Profile) -> Recipe {
    Recipe::new(
        profile,
        config(),
        "0.0.0.0:8443".parse().unwrap(),
        "10.0.2.2:8080".parse().unwrap(),
        Network {
            interface: "eth0".into(),
            address: "10.0.2.15".parse().unwrap(),
            prefix: 24,
            gateway: Some("10.0.2.2".parse().unwrap()),
        },
    )
    .unwrap()
}

/// Every file of a directory.
pub fn files_of(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect()
}

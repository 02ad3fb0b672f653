//! Which kernel modules an image holds, and in which order they are loaded.
//!
//! A package holds no `modules.dep`; that file is made where a kernel is installed. Each module says itself what it needs
//! (`depends=` in its section `.modinfo`), which is where that file comes from.

use std::collections::BTreeMap;

use crate::deb::unxz;
use crate::elf::Elf;
use crate::error::ImageError;

/// The kernel package's modules, compressed as they came.
#[derive(Debug, Clone)]
pub struct Modules {
    package: String,
    /// By name with `_` for `-`, as the kernel compares them.
    compressed: BTreeMap<String, (String, Vec<u8>)>,
    /// Names that the kernel has built in.
    builtin: Vec<String>,
    /// The kernel has no modules: all that images ask for is built in.
    none: bool,
}

/// A module of the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// Its file's name without `.ko`.
    pub name: String,
    /// The module, with its signature, not compressed.
    pub bytes: Vec<u8>,
}

impl Modules {
    /// Sorts out a package's files: `usr/lib/modules/…/*.ko.xz` and `modules.builtin`.
    pub fn of(package: &str, files: BTreeMap<String, Vec<u8>>) -> Self {
        let mut modules = Self {
            package: package.to_owned(),
            compressed: BTreeMap::new(),
            builtin: Vec::new(),
            none: false,
        };
        for (path, bytes) in files {
            let file = path.rsplit('/').next().unwrap_or(&path);
            if let Some(name) = file.strip_suffix(".ko.xz") {
                modules.compressed.insert(canonical(name), (name.to_owned(), bytes));
            } else if file == "modules.builtin" {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let names = text
                    .lines()
                    .filter_map(|line| line.rsplit('/').next()?.strip_suffix(".ko"));
                modules.builtin.extend(names.map(canonical));
            }
        }
        modules
    }

    /// Of a kernel without modules, whose configuration is checked where it is built.
    pub fn none() -> Self {
        Self {
            package: String::new(),
            compressed: BTreeMap::new(),
            builtin: Vec::new(),
            none: true,
        }
    }

    /// Picks `wanted` and all they need, each after those it needs, otherwise in the order of `wanted`.
    ///
    /// # Errors
    /// [`ImageError::ModuleMissing`], [`ImageError::Malformed`].
    pub fn pick(&self, wanted: &[&str]) -> Result<Vec<Module>, ImageError> {
        let mut picked = Vec::new();
        if self.none {
            return Ok(picked);
        }
        for name in wanted {
            self.add(name, "the image", &mut Vec::new(), &mut picked)?;
        }
        Ok(picked)
    }

    fn add(
        &self,
        name: &str,
        needed_by: &str,
        above: &mut Vec<String>,
        picked: &mut Vec<Module>,
    ) -> Result<(), ImageError> {
        let key = canonical(name);
        let done = picked.iter().any(|module| canonical(&module.name) == key);
        if done || self.builtin.contains(&key) {
            return Ok(());
        }
        let found = self
            .compressed
            .get(&key)
            .filter(|_| hanzo_init::plan::is_module_name(name));
        let (file, compressed) = found.ok_or_else(|| ImageError::ModuleMissing {
            module: name.to_owned(),
            needed_by: needed_by.to_owned(),
            package: self.package.clone(),
        })?;
        let bytes = unxz(&format!("{file}.ko.xz"), compressed)?;
        if above.contains(&key) {
            return Err(ImageError::Malformed {
                file: format!("{file}.ko"),
                offset: 0,
                expected: "modules that need each other in one direction",
                got: format!("a circle through {needed_by}"),
            });
        }
        above.push(key);
        for needed in depends(&format!("{file}.ko"), &bytes)? {
            self.add(&needed, file, above, picked)?;
        }
        above.pop();
        picked.push(Module {
            name: file.clone(),
            bytes,
        });
        Ok(())
    }
}

/// The names in a module's `depends=`.
fn depends(file: &str, module: &[u8]) -> Result<Vec<String>, ImageError> {
    let about = Elf::new(file, module)?.section(".modinfo")?;
    let names = about
        .split(|byte| *byte == 0)
        .filter_map(|line| std::str::from_utf8(line).ok()?.strip_prefix("depends="))
        .flat_map(|names| names.split(','))
        .filter(|name| !name.is_empty());
    Ok(names.map(str::to_owned).collect())
}

fn canonical(name: &str) -> String {
    name.replace('-', "_")
}

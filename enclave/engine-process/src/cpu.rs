//! Whether this processor runs this program at all: one without the instructions that everything was compiled for ends it with
//! SIGILL somewhere, which says nothing to anybody.

/// What x86-64-v3 adds, by the kernel's names. `.cargo/config.toml` builds for it.
const NEEDED: [&str; 8] = ["avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe"];

/// What the processor lacks, as `/proc/cpuinfo` has it; nothing where that cannot be read.
pub(crate) fn lacking() -> Vec<&'static str> {
    std::fs::read_to_string("/proc/cpuinfo").map_or_else(|_| Vec::new(), |text| lacking_in(&text))
}

fn lacking_in(cpuinfo: &str) -> Vec<&'static str> {
    let flags = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("flags")?.split_once(':').map(|(_, flags)| flags));
    let Some(flags) = flags else {
        return Vec::new();
    };
    let has = |name: &str| flags.split_ascii_whitespace().any(|flag| flag == name);
    NEEDED.into_iter().filter(|name| !has(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let haswell = "processor\t: 0\nflags\t\t: fpu sse avx avx2 bmi1 bmi2 f16c fma abm movbe\nbugs\t\t:\n";
        assert!(lacking_in(haswell).is_empty());
        assert_eq!(lacking_in(&haswell.replace(" avx2", "")), ["avx2"]);
        assert_eq!(lacking_in(&haswell.replace(" bmi1", " bmi12")), ["bmi1"]);
        assert!(lacking_in("").is_empty(), "nothing is known");
        assert!(lacking().is_empty(), "these tests run");
    }
}

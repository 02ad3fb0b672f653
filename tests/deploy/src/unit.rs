//! systemd units, as far as tests look into them.

/// The values of a key, in the file's order.
pub fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    let lines = unit.lines().filter_map(|line| line.split_once('='));
    lines.filter(|(name, _)| *name == key).map(|(_, value)| value).collect()
}

/// The words of `ExecStart=`, with `${NAME}` (and `$NAME`, which may be several words or none) replaced from `Environment=`, and `%i` by
/// `instance`.
pub fn command(unit: &str, instance: &str) -> Vec<String> {
    let line = match values(unit, "ExecStart")[..] {
        [line] => line.to_owned(),
        _ => panic!("not exactly one ExecStart="),
    };
    let mut line = line.replace("%i", instance);
    for assignment in values(unit, "Environment") {
        let (name, value) = assignment
            .split_once('=')
            .unwrap_or_else(|| panic!("Environment={assignment}"));
        let used = [format!("${{{name}}}"), format!("${name}")];
        assert!(used.iter().any(|u| line.contains(u)), "{name} is set and not used");
        line = used.iter().fold(line, |line, u| line.replace(u, value));
    }
    assert!(!line.contains(['$', '%']), "not replaced: {line}");
    line.split_whitespace().map(str::to_owned).collect()
}

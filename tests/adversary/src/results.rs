//! What came of the attacks, for machines: a line of JSON each, and one table over all classes.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Mutex;

use serde_json::{Value, json};

/// One writer at a time: classes run side by side.
static WRITING: Mutex<()> = Mutex::new(());

/// Writes `attacks/CLASS.jsonl`, and `attacks.json` and `attacks.md` over all classes that were run so far.
pub fn write(target: &Path, class: &str, lines: &[Value]) {
    let _alone = WRITING.lock().unwrap_or_else(|e| e.into_inner());
    let dir = target.join("attacks");
    std::fs::create_dir_all(&dir).unwrap();
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    std::fs::write(dir.join(format!("{class}.jsonl")), text).unwrap();
    let _ = std::fs::remove_file(dir.join(format!("{class}.leaks")));
    tabulate(target, &dir);
}

/// Writes what was readable on the host after `class` and those that ran on the same processes.
pub fn leaks(target: &Path, class: &str, leaks: &[String]) {
    let _alone = WRITING.lock().unwrap_or_else(|e| e.into_inner());
    let dir = target.join("attacks");
    std::fs::write(dir.join(format!("{class}.leaks")), leaks.join("\n")).unwrap();
    tabulate(target, &dir);
}

fn tabulate(target: &Path, dir: &Path) {
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "jsonl"));
    files.sort();
    let read = |path: &std::path::PathBuf| -> Vec<Value> {
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let all: Vec<Value> = files.iter().flat_map(read).collect();
    let held = |line: &&Value| line["held"] == json!(true);
    let mut table = String::from("| class | attack | the client saw | held |\n|---|---|---|---|\n");
    for line in &all {
        let word = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
        let yes = if line["held"] == json!(true) { "yes" } else { "NO" };
        let _ = writeln!(
            table,
            "| {} | {} | `{}` | {yes} |",
            word("class"),
            word("attack"),
            word("saw")
        );
    }
    let found: Vec<String> = files
        .iter()
        .filter_map(|path| std::fs::read_to_string(path.with_extension("leaks")).ok())
        .filter(|text| !text.is_empty())
        .collect();
    let held = all.iter().filter(held).count();
    let summary = json!({
        "attacks": all.len(),
        "held": held,
        "succeeded": all.len() - held,
        "readable_on_the_host": found,
        "lines": all,
    });
    let _ = writeln!(table, "\n{} attacks, {} succeeded.", all.len(), all.len() - held);
    std::fs::write(target.join("attacks.json"), summary.to_string()).unwrap();
    std::fs::write(target.join("attacks.md"), table).unwrap();
}

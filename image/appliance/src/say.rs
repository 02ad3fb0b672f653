//! What `hanzo up` prints for people. Every command works when pasted into a shell, however this program was started.

use std::env;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use hanzo_attestation::name::Name;
use hanzo_verifier::VerdictView;

use crate::paths::Layout;
use crate::up::Reach;

/// Writes to standard output; a reader that went away (`| head`) is no reason to stop.
pub(crate) fn out(text: &str) {
    let mut to = io::stdout().lock();
    let _ = to.write_all(text.as_bytes());
    let _ = to.flush();
}

/// How this program is called from a shell: `hanzo` if that finds this very file, else its path.
pub(crate) fn this_program() -> String {
    let Ok(own) = env::current_exe().and_then(fs::canonicalize) else {
        return "hanzo".into();
    };
    let found = env::var_os("PATH")
        .and_then(|path| env::split_paths(&path).map(|d| d.join("hanzo")).find(|p| p.is_file()))
        .and_then(|p| fs::canonicalize(p).ok());
    if found.is_some_and(|p| p == own) {
        "hanzo".into()
    } else {
        word(&own)
    }
}

/// A path as one word of a shell command.
pub(crate) fn word(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@,=".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

pub(crate) fn verdict(view: &VerdictView) -> String {
    hanzo_verify::shown(&hanzo_verify::render_verdict(
        view,
        &format!("{} proven", view.transport),
    ))
}

/// The command that checks a receipt; `state` if it is not where it is looked for anyway.
pub(crate) fn check_receipt(id: &str, state: Option<&Path>) -> String {
    let state = state.map_or_else(String::new, |s| format!(" --state {}", word(s)));
    format!("{} receipt {id}{state}", this_program())
}

/// How to use what runs.
pub(crate) fn how_to(base: &str, reach: &Reach, layout: &Layout, cache: &Path) -> String {
    let (model, proxy) = (&reach.model, reach.proxy_at);
    let all = reach.models.join(", ");
    let package = word(&cache.join("python"));
    let root = match reach.tpm_key {
        Some(key) => format!("--tpm-ak {key}"),
        None => format!("--simulator-root {}", word(&layout.simulator_root())),
    };
    let trust = format!("--policy {} {root}", word(&layout.policy()));
    let hanzo = this_program();
    let (told, shown, key, more) = keys(reach);
    format!(
        r#"
OpenAI endpoint  {base}   (models: {all}; Ctrl-C stops everything)
{told}
curl -sN {base}/chat/completions{shown} -H 'content-type: application/json' -d '{{"model":"{model}","stream":true,"temperature":0,"messages":[{{"role":"user","content":"What is the capital of France?"}}]}}'

python3 -m pip install --quiet --upgrade --target {package} openai
PYTHONPATH={package} python3 - <<'EOF'
from openai import OpenAI
client = OpenAI(base_url="{base}", api_key={key})
answer = client.chat.completions.create(model="{model}", temperature=0,
    messages=[{{"role": "user", "content": "What is the capital of France?"}}])
print(answer.choices[0].message.content)
EOF

What anybody else would do, through the untrusted proxy at {proxy}:
{hanzo} verify https://{proxy} {trust}
{hanzo} connect --to {proxy} --listen 127.0.0.1:8081 {trust}{more}
"#
    )
}

/// Adapters and callers; then how curl, Python and `connect` show a key.
fn keys(reach: &Reach) -> (String, String, String, String) {
    let mut told = String::new();
    for adapter in &reach.adapters {
        let whose: Vec<_> = adapter.callers.iter().map(Name::as_str).collect();
        let whose = match (whose.is_empty(), &reach.callers) {
            (false, _) => format!("for {} alone", whose.join(", ")),
            (true, Some(_)) => "for every caller".into(),
            (true, None) => "for whoever asks".into(),
        };
        told.push_str(&format!("adapter  {} on {}, {whose}\n", adapter.name, adapter.base));
    }
    for (name, file) in reach.callers.iter().flat_map(|callers| &callers.files) {
        told.push_str(&format!("caller   {name}: API key in {}\n", word(file)));
    }
    let Some(file) = reach.key_file() else {
        return (told, String::new(), r#""unused""#.into(), String::new());
    };
    let path = word(file);
    (
        told,
        format!(" -H \"authorization: Bearer $(cat {path})\""),
        format!("open({:?}).read().strip()", file.display().to_string()),
        format!(" --api-key-file {path}"),
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn paths_are_one_word_each() {
        assert_eq!(word(Path::new("/a/b-1.2_c")), "/a/b-1.2_c");
        assert_eq!(word(Path::new("/my models/x")), "'/my models/x'");
        assert_eq!(word(Path::new("/it's;rm")), r"'/it'\''s;rm'");
        assert_eq!(word(Path::new("")), "''");
    }
}

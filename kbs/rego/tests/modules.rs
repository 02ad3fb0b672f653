//! Modules as they are found at CoCo users', each beside its nearest refused twin.

use hanzo_rego::{INPUT_BYTES_MAX, Module, RegoError, Resource, TEXT_BYTES_MAX};
use serde_json::{Value, json};

const RESOURCE: Resource<'_> = Resource {
    plugin: "resource",
    path: &["hanzo", "dek", "m"],
    query: &[],
};

fn claims(status: &str, sample: bool) -> Value {
    let mut evidence = json!({"snp": {"measurement": "ab", "policy_debug_allowed": false}});
    if sample {
        evidence["sample"] = json!({});
    }
    json!({"submods": {"cpu0": {
        "ear.status": status,
        "ear.trustworthiness-vector": {"executables": 3, "hardware": 2},
        "ear.veraison.annotated-evidence": evidence,
    }}})
}

fn ask(text: &str, input: &Value) -> Result<(), &'static str> {
    Module::parse(text)
        .and_then(|m| m.allows(input, &RESOURCE))
        .map_err(|e| e.code())
}

/// The default policy of Trustee, in its own shape.
const DEFAULT: &str = r#"
package policy
import rego.v1

default allow = false

allow if {
    data.plugin == "resource"
    not any_sample
}

any_sample if {
    some _, submod in input["submods"]
    submod["ear.veraison.annotated-evidence"]["sample"]
}
"#;

/// Every submodule affirmed, as Trustee's `affirming.rego` asks.
const AFFIRMING: &str = r#"
package policy
import rego.v1

default allow = false

any_not_affirming if {
    some _, submod in input.submods
    submod["ear.status"] != "affirming"
}

allow if {
    input.submods.cpu0
    not any_not_affirming
}
"#;

/// Of before Rego 1.0.
const OLD: &str = r#"
package policy

default allow = false

allow {
    data["resource-path"][0] == "hanzo"
    data["resource-path"][2] == "m"
    input.submods.cpu0["ear.veraison.annotated-evidence"].snp.measurement == "ab"
}
"#;

#[test]
fn policies_of_coco_load_and_narrow() {
    let good = claims("affirming", false);
    assert_eq!(ask(DEFAULT, &good), Ok(()));
    assert_eq!(ask(DEFAULT, &claims("affirming", true)), Err("rego.denied"));
    assert_eq!(ask(AFFIRMING, &good), Ok(()));
    assert_eq!(ask(AFFIRMING, &claims("warning", false)), Err("rego.denied"));
    assert_eq!(ask(AFFIRMING, &json!({})), Err("rego.denied"));
    assert_eq!(ask(OLD, &good), Ok(()));
    assert_eq!(
        ask(&OLD.replace("\"m\"", "\"n\""), &good),
        Err("rego.denied"),
        "another resource"
    );
}

#[test]
fn data_is_plugin_path_and_query() {
    let text = "package policy\nimport rego.v1\nallow if data == {\"plugin\": \"pkcs11\", \"query\": {\"v\": \"1\"}, \"resource-path\": [\"a\"]}";
    let module = Module::parse(text).unwrap();
    let asked = |value| {
        let resource = Resource {
            plugin: "pkcs11",
            path: &["a"],
            query: &[("v", value)],
        };
        module.allows(&json!({}), &resource).map_err(|e| e.code())
    };
    assert_eq!(asked("1"), Ok(()));
    assert_eq!(asked("2"), Err("rego.undefined"));
    let text = "package policy\nimport rego.v1\nallow if {data.plugin == \"pkcs11\"; data.query.v == \"1\"; data[\"resource-path\"] == [\"a\"]}";
    let module = Module::parse(text).unwrap();
    let asked = |value| {
        let resource = Resource {
            plugin: "pkcs11",
            path: &["a"],
            query: &[("v", value)],
        };
        module.allows(&json!({}), &resource).map_err(|e| e.code())
    };
    assert_eq!(asked("1"), Ok(()));
    assert_eq!(asked("2"), Err("rego.undefined"));
}

#[test]
fn what_is_not_true_is_no() {
    let nothing = json!({});
    for (text, code) in [
        ("package policy\nallow := true", Ok(())),
        ("package policy\nallow := false", Err("rego.denied")),
        ("package policy\nallow if input.absent", Err("rego.undefined")),
        ("package policy\nallow := 1", Err("rego.not_boolean")),
        ("package policy\nallow := \"true\"", Err("rego.not_boolean")),
        ("package policy\nallow := {\"allow\": true}", Err("rego.not_boolean")),
        ("package policy\nallow := null", Err("rego.not_boolean")),
        ("package policy\nallow := 1 / 0 == 1", Err("rego.evaluation")),
        ("package policy\nallow := to_number(\"x\") == 1", Err("rego.evaluation")),
        (
            "package policy\nallow := true if input.x\nallow := false if not input.x",
            Err("rego.denied"),
        ),
        ("package policy\nallow := true\nallow := false", Err("rego.evaluation")),
        ("package policy\nallow if allow", Err("rego.evaluation")),
    ] {
        assert_eq!(ask(text, &nothing), code, "{text}");
    }
}

#[test]
fn a_module_has_no_clock_no_network_no_dice_and_no_way_to_fill_memory_at_once() {
    let nothing = json!({});
    for call in [
        "time.now_ns() > 0",
        "http.send({\"method\": \"get\", \"url\": \"http://127.0.0.1\"}).status_code == 200",
        "rand.intn(\"x\", 10) < 11",
        "opa.runtime().env.PATH != \"\"",
        "uuid.rfc4122(\"x\") != \"\"",
        "net.lookup_ip_addr(\"localhost\")",
        "test.sleep(\"1s\")",
    ] {
        let text = format!("package policy\nimport rego.v1\nallow if {call}");
        let refused = ask(&text, &nothing).unwrap_err();
        assert!(
            matches!(refused, "rego.evaluation" | "rego.syntax"),
            "{call}: {refused}"
        );
    }
    for call in [
        "count(numbers.range(1, 1000000000000)) > 1",
        "count(numbers . range(1, 1000000000000)) > 1",
        "bits.lsh(1, 4000000000) > 1",
        "sprintf(\"%1000000000d\", [1]) != \"\"",
    ] {
        let text = format!("package policy\nimport rego.v1\nallow if {call}");
        assert_eq!(ask(&text, &nothing), Err("rego.function"), "{call}");
    }
}

#[test]
fn texts_are_checked_when_they_are_put() {
    let code = |text: &str| Module::parse(text).map(drop).map_err(|e| e.code());
    assert_eq!(code("package policy\nallow := true"), Ok(()));
    assert_eq!(code(""), Err("rego.length"));
    let long = format!("package policy\nallow := true\n#{}", " ".repeat(TEXT_BYTES_MAX));
    assert_eq!(code(&long), Err("rego.length"));
    assert_eq!(code("package policy\nallow := "), Err("rego.syntax"));
    assert_eq!(code("allow := true"), Err("rego.syntax"));
    assert_eq!(code("package other\nallow := true"), Err("rego.package"));
    assert_eq!(code("package policy.sub\nallow := true"), Err("rego.package"));
    assert_eq!(code("package policy\nallowed := true"), Err("rego.no_rule"));
    assert_eq!(
        code(&format!(
            "package policy\nallow := {}1{}",
            "(".repeat(5000),
            ")".repeat(5000)
        )),
        Err("rego.syntax")
    );
}

#[test]
fn evaluation_is_counted_the_same_everywhere() {
    // 400 x 400 x 400 combinations.
    let long = "package policy\nimport rego.v1\nallow if {some i, j, k\ninput.l[i] + input.l[j] + input.l[k] == -1}";
    let input = json!({"l": (0..400).collect::<Vec<_>>()});
    let module = Module::parse(long).unwrap();
    assert_eq!(module.allows(&input, &RESOURCE), Err(RegoError::Steps));
    // The count starts anew each time: the short question after the long one is answered.
    let short = json!({"l": [0, 1]});
    assert_eq!(module.allows(&short, &RESOURCE), Err(RegoError::Undefined));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (module, short) = (module.clone(), short.clone());
            std::thread::spawn(move || module.allows(&short, &RESOURCE))
        })
        .collect();
    for thread in threads {
        assert_eq!(thread.join().unwrap(), Err(RegoError::Undefined));
    }
}

#[test]
fn input_is_bounded() {
    let module = Module::parse("package policy\nallow := true").unwrap();
    let input = json!({"x": "y".repeat(INPUT_BYTES_MAX)});
    assert_eq!(module.allows(&input, &RESOURCE).unwrap_err().code(), "rego.input");
    assert_eq!(module.allows(&json!({"x": "y".repeat(1000)}), &RESOURCE), Ok(()));
}

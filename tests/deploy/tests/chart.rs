//! The chart against Helm, Kubernetes' own schemas and a linter.

use std::path::PathBuf;
use std::process::Output;

use hanzo_tests_deploy::files::{deploy, root, text};
use hanzo_tests_deploy::tools::{output, python, said, say_missing};
use hanzo_tests_deploy::yaml::documents;
use serde_json::{Value, json};

/// The oldest and the newest version of Kubernetes that the objects are for.
const VERSIONS: [&str; 2] = ["1.33", "1.37"];

/// Value sets, and the file with what they render to.
fn sets() -> [(Option<PathBuf>, PathBuf); 3] {
    let example = |name: &str| Some(deploy(&format!("helm/hanzo/examples/{name}.yaml")));
    let rendered = |name: &str| deploy(&format!("kubernetes/{name}.yaml"));
    [
        (None, rendered("default")),
        (example("daemonset"), rendered("daemonset")),
        (example("whole"), rendered("whole")),
    ]
}

/// Helm over the chart.
fn helm(mode: Option<&str>, values: &[PathBuf], input: &str) -> Option<Output> {
    let mut helm = python("helm_python")?;
    helm.arg(root().join("tests/deploy/helm.py"))
        .args(mode)
        .arg(deploy("helm/hanzo"))
        .args(values);
    Some(output(&mut helm, input.as_bytes()))
}

#[test]
fn the_objects_are_what_helm_renders() {
    for (values, file) in sets() {
        let values: Vec<_> = values.into_iter().collect();
        let Some(rendered) = helm(None, &values, "") else {
            return say_missing("HELM", "the chart was not rendered");
        };
        assert!(rendered.status.success(), "{}", said(&rendered));
        let rendered = String::from_utf8(rendered.stdout).unwrap();
        assert!(
            rendered == text(&file),
            "{}: the chart renders otherwise. python3 tests/deploy/helm.py image/deploy/helm/hanzo {values:?} > {}",
            file.display(),
            file.display()
        );
        let linted = helm(Some("--lint"), &values, "").unwrap();
        assert!(linted.status.success(), "{}", said(&linted));
    }
}

/// One value changed, and a part of what Helm says to it.
#[test]
fn values_that_make_no_sense_are_refused_by_the_schema() {
    let alice = json!({
        "name": "alice", "roles": ["operator"], "tenants": "any", "suite": "ml-dsa-65",
        "ml_dsa": "ab".repeat(1952), "ed25519": "cd".repeat(32),
    });
    let cases = [
        (
            json!({"proxy": {"image": "registry.example/hanzo-proxy:latest"}}),
            "/proxy/image",
        ),
        (
            json!({"proxy": {"image": "registry.example/hanzo-proxy@sha256:00"}}),
            "/proxy/image",
        ),
        (json!({"proxy": {"kind": "ReplicaSet"}}), "/proxy/kind"),
        (json!({"proxy": {"guest": "guest.example:8443"}}), "/proxy/guest"),
        (json!({"proxy": {"replica": 3}}), "replica"),
        (json!({"kbs": {"database": {"password": "x"}}}), "password"),
        (json!({"kbs": {"initData": "H4sI"}}), "/kbs/initData"),
        (json!({"kbs": {"adminKeys": [{"name": "alice"}]}}), "/kbs/adminKeys/0"),
        (json!({"kbs": {"fourEyes": "false"}}), "/kbs/fourEyes"),
        (json!({"kbs": {"adminKeys": [alice]}}), "/kbs/adminKeys"),
        (json!({"guest": {"enabled": true}}), "/guest/deviceResources"),
        (json!({"guest": {"memoryMib": 64}}), "/guest/memoryMib"),
        (json!({"extra": {}}), "extra"),
    ];
    // The nearest that is taken.
    let taken = json!({"guest": {"enabled": true, "deviceResources": {"devices.example.com/kvm": 1}}});
    let all: Vec<_> = cases.iter().map(|(values, _)| values).chain([&taken]).collect();
    let Some(asked) = helm(Some("--each"), &[], &json!(all).to_string()) else {
        return say_missing("HELM", "no values were refused");
    };
    assert!(asked.status.success(), "{}", said(&asked));
    let answers: Vec<Option<String>> = serde_json::from_slice(&asked.stdout).unwrap();
    assert_eq!(answers.len(), cases.len() + 1);
    for ((values, named), answer) in cases.iter().zip(&answers) {
        let answer = answer.as_deref().unwrap_or_else(|| panic!("taken: {values}"));
        assert!(
            answer.starts_with("HelmValuesError") && answer.contains(named),
            "{values}: {answer}"
        );
    }
    assert_eq!(answers.last(), Some(&None));
}

fn validate(version: &str, objects: &[Value]) -> Option<Output> {
    let mut validate = python("kubernetes_validate")?;
    validate.arg(root().join("tests/deploy/validate.py")).arg(version);
    Some(output(&mut validate, json!(objects).to_string().as_bytes()))
}

#[test]
fn kubernetes_schemas_take_every_object_and_refuse_its_neighbour() {
    let files = sets()
        .map(|(_, file)| file)
        .into_iter()
        .chain([deploy("kubernetes/namespace.yaml")]);
    let objects: Vec<Value> = files.flat_map(|file| documents(&text(&file)).unwrap()).collect();
    for version in VERSIONS {
        let Some(taken) = validate(version, &objects) else {
            return say_missing("KUBERNETES-VALIDATE", "no object was validated");
        };
        assert!(taken.status.success(), "{version}: {}", said(&taken));
    }
    // One misspelt member or wrong type in each kind.
    let mut broken = Vec::new();
    for (kind, at, value) in [
        ("Deployment", "/spec/replicas", json!("2")),
        ("DaemonSet", "/spec/template/spec/hostPort", json!(1)),
        (
            "StatefulSet",
            "/spec/template/spec/securityContext/runAsNonRoot",
            json!("yes"),
        ),
        ("NetworkPolicy", "/spec/egres", json!([])),
        ("Service", "/spec/ports", json!({})),
        ("PodDisruptionBudget", "/spec/maxUnavailabl", json!(1)),
        ("ConfigMap", "/data/kbs.toml", json!(1)),
    ] {
        let mut object = objects.iter().find(|o| o["kind"] == kind).unwrap().clone();
        let (parent, member) = at.rsplit_once('/').unwrap();
        object.pointer_mut(parent).unwrap()[member] = value;
        object["metadata"]["name"] = at.into();
        broken.push((at, object));
    }
    let refused = validate(VERSIONS[1], &broken.iter().map(|(_, o)| o.clone()).collect::<Vec<_>>()).unwrap();
    assert!(!refused.status.success());
    for (at, _) in broken {
        assert!(said(&refused).contains(at), "{at} was taken: {}", said(&refused));
    }
}

#[test]
fn yamllint_finds_nothing_in_what_people_write() {
    let Some(mut lint) = python("yamllint") else {
        return say_missing("YAMLLINT", "no YAML was linted");
    };
    let rules = "{extends: default, rules: {line-length: disable, document-start: disable, braces: {max-spaces-inside: 0}, \
                 comments: {min-spaces-from-content: 1}, truthy: {check-keys: true}}}";
    lint.args(["-m", "yamllint", "--strict", "-d", rules]);
    let chart = deploy("helm/hanzo");
    lint.arg(chart.join("values.yaml"))
        .arg(chart.join("Chart.yaml"))
        .arg(chart.join("examples"));
    let linted = output(lint.arg(deploy("kubernetes/namespace.yaml")), b"");
    assert!(linted.status.success(), "{}", said(&linted));
    let mut lint = python("yamllint").unwrap();
    lint.args(["-m", "yamllint", "--strict", "-d", rules, "-"]);
    let refused = output(&mut lint, b"a: 1\na: 2\n");
    assert!(
        !refused.status.success() && said(&refused).contains("duplication"),
        "{}",
        said(&refused)
    );
}

#[test]
fn the_chart_names_only_kinds_that_are_checked() {
    let mut kinds: Vec<String> = Vec::new();
    for (_, file) in sets() {
        kinds.extend(
            documents(&text(&file))
                .unwrap()
                .iter()
                .map(|o| o["kind"].as_str().unwrap().to_owned()),
        );
    }
    kinds.sort();
    kinds.dedup();
    let wanted = [
        "ConfigMap",
        "DaemonSet",
        "Deployment",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "Service",
        "StatefulSet",
    ];
    assert_eq!(kinds, wanted);
}

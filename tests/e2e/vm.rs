//! `hanzo up --vm` as a stranger walks it: a question answered from inside the measured image, and what is refused.
//!
//! Needs QEMU 10, swtpm, curl, `HANZO_IMAGE_PACKAGES` (a directory with the pinned packages), and the image's two static
//! programs: `HANZO_IMAGE_GUEST` and `HANZO_IMAGE_ENGINE`, or `image/hanzo-guest` and `image/hanzo-engine` in the target
//! directory. Says loudly what is missing.
//!
//! The image's kernel is the one of `hanzo up --vm`: our own if it lies beside the packages; `HANZO_VM_KERNEL=debian` takes
//! Debian's. The model is a random one of a few hundred kilobytes, made here, so that an emulated processor has little to do;
//! `HANZO_VM_MODEL=smollm2` takes the one that `hanzo up` takes. A delta goes on it, for one of two callers. The image boots once, and twice more for a changed pack and
//! an image that has become too old; with `HANZO_IMAGE_REFUSALS` set twice again, for other images.

#[path = "vm/appliance.rs"]
mod appliance;
#[path = "vm/broker.rs"]
mod broker;
#[path = "vm/client.rs"]
mod client;
#[path = "vm/needs.rs"]
mod needs;
#[path = "vm/refused.rs"]
mod refused;
#[path = "../../enclave/engine/tests/engine/fixture.rs"]
#[allow(
    dead_code,
    reason = "the engine's own tests use all of it; here it makes one small model"
)]
mod tiny;

use std::fs;

use rustix::process::Signal;
use serde_json::{Value, json};

use appliance::Up;
use broker::Broker;
use client::Endpoint;
use needs::{ADAPTER, CALLERS, Needs, not_tested};

#[test]
fn a_measured_image_answers_and_everything_else_is_refused() {
    let needs = match Needs::find() {
        Ok(needs) => needs,
        Err(why) => return not_tested(&why),
    };
    let Some(mut up) = Up::start(&needs) else { return };

    let verdict = &up.greeting["verdict"];
    assert_eq!(verdict["tier"], 1, "{verdict}");
    assert_eq!(verdict["simulated"], false, "{verdict}");
    assert_eq!(up.greeting["tpm_ak"].as_str().map(str::len), Some(64));
    // The prediction was there before the machine had written a byte.
    let time = |path: &str| fs::metadata(up.at(path)).unwrap().modified().unwrap();
    assert!(time("prediction.json") < time("logs/console.log"));
    let (status, answer) = up.chat();
    assert_eq!(status, 200, "{answer}");
    let said = answer["choices"][0]["message"]["content"].as_str();
    assert!(said.is_some_and(|text| !text.is_empty()), "{answer}");
    let receipts = fs::read_dir(up.state.path().join("receipts")).unwrap().count();
    assert!(receipts >= 1, "the answer has a receipt that verified");

    an_adapter_answers_its_caller_alone(&up);

    let broker = Broker::of(&up);
    let granted = broker.decisions(&up.model_key());
    assert_eq!(granted.len(), 1);
    assert_eq!(
        (&granted[0]["action"], &granted[0]["tier"]),
        (&json!("grant"), &json!(1))
    );

    if std::env::var_os("HANZO_IMAGE_REFUSALS").is_some() {
        refused::a_second_guest(&up);
        refused::other_images(&needs, &up, &broker);
    } else {
        not_tested("a second guest, the debug image and the changed kernel: HANZO_IMAGE_REFUSALS is not set");
    }
    refused::an_image_that_is_too_old(&up, &broker);

    killed_in_the_middle_of_an_answer(&mut up);
    refused::a_changed_pack(&needs);
}

/// A delta from a disk of its own, on a copy of the model's files in the guest; callers stand in the measured configuration.
fn an_adapter_answers_its_caller_alone(up: &Up) {
    if up.greeting["adapters"] == json!([]) {
        return not_tested("an adapter: the model is not of this test's making");
    }
    let told = json!([{"name": ADAPTER, "base": up.base(), "callers": [CALLERS[0]]}]);
    assert_eq!(up.greeting["adapters"], told);
    let said = |who, model: &str| {
        let (status, answer) = up.ask(who, model);
        assert_eq!(status, 200, "{answer}");
        answer["choices"][0]["message"]["content"].as_str().unwrap().to_owned()
    };
    // The first question was the adapter's; the model under it answers whom it is for, as it is.
    assert_ne!(said(0, ADAPTER), said(0, up.base()), "the delta changes answers");
    assert_eq!(said(0, up.base()), said(1, up.base()));
    let (status, refused) = up.ask(1, ADAPTER);
    assert_eq!(
        (status, &refused["error"]["code"]),
        (404, &json!("model_not_found")),
        "{refused}"
    );
    let (status, refused) = up.ask(CALLERS.len(), up.base());
    assert_eq!(
        (status, &refused["error"]["code"]),
        (401, &json!("invalid_api_key")),
        "{refused}"
    );
    // Receipts name both roots.
    let receipts = fs::read_dir(up.state.path().join("receipts")).unwrap().flatten();
    let receipts: Vec<Value> = receipts
        .filter_map(|entry| serde_json::from_slice(&fs::read(entry.path()).ok()?).ok())
        .collect();
    let of_base: Vec<_> = receipts
        .iter()
        .filter(|receipt| receipt.to_string().contains("base_root"))
        .collect();
    assert!(!of_base.is_empty() && of_base.len() < receipts.len(), "{receipts:?}");
}

/// The client is told; what came is no complete answer; nothing is left running.
fn killed_in_the_middle_of_an_answer(up: &mut Up) {
    // A client of its own, which outlives the appliance.
    let endpoint = Endpoint::open(up);
    let streaming = endpoint.stream();
    let machines = up.processes("qemu-system-x86_64");
    assert_eq!(machines.len(), 1, "{machines:?}");
    let pid = rustix::process::Pid::from_raw(machines[0]).unwrap();
    rustix::process::kill_process(pid, Signal::KILL).unwrap();

    let (curl, text) = streaming.rest();
    assert_eq!(curl, Some(18), "curl: the transfer was cut: {text}");
    assert!(text.contains("data: {"), "{text}");
    for complete in ["[DONE]", "hanzo-receipt-status", "\"finish_reason\":\"stop\""] {
        assert!(!text.contains(complete), "{text}");
    }
    let receipts = fs::read_dir(endpoint.state.path().join("receipts")).map_or(0, Iterator::count);
    assert_eq!(receipts, 0, "half an answer has no receipt");

    let error = up.ended();
    assert_eq!(error["error"]["code"], "up.part_stopped", "{error}");
    let message = error["error"]["message"].as_str().unwrap();
    assert!(message.contains("vm stopped"), "{error}");
    let (status, error) = endpoint.chat(4);
    assert_eq!(status, 502, "{error}");
    assert_eq!(error["error"]["code"], "endpoint.unreachable", "{error}");
    for program in ["qemu-system-x86_64", "swtpm", "hanzo"] {
        assert!(up.processes(program).is_empty(), "{program} was left behind");
    }
}

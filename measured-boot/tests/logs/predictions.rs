//! The prediction file: one spelling, one meaning; and the reference values made from it.

use hanzo_attestation::name::Name;
use hanzo_attestation::{Digest256, Digest384};
use hanzo_measured_boot::event::{Input, Platform};
use hanzo_measured_boot::prediction::{InputFile, Prediction, PredictionError};
use hanzo_measured_boot::rtmr::PREDICTED;
use hanzo_policy::{AllowList, Presence};

use crate::machine::{CONFIG, Machine, shape};
use crate::td;

/// The file of [`Machine::new`], as it was written when the format was fixed.
const FILE: &[u8] = include_bytes!("../vectors/prediction.json");

fn code<T>(result: Result<T, PredictionError>) -> &'static str {
    result.map_or_else(|e| e.code(), |_| "accepted")
}

#[test]
fn the_format_is_the_committed_file() {
    let bytes = Machine::new().prediction().to_vec().unwrap();
    if let Some(path) = std::env::var_os("HANZO_WRITE_VECTORS") {
        std::fs::write(std::path::Path::new(&path).join("prediction.json"), &bytes).unwrap();
    }
    assert_eq!(String::from_utf8(bytes).unwrap(), String::from_utf8_lossy(FILE));
    assert_eq!(Prediction::from_slice(FILE).unwrap(), Machine::new().prediction());
}

#[test]
fn a_changed_file_is_refused() {
    let text = String::from_utf8(FILE.to_vec()).unwrap();
    let changed = |from: &str, to: &str| {
        let other = text.replacen(from, to, 1);
        assert_ne!(other, text, "{from}");
        code(Prediction::from_slice(other.as_bytes()))
    };
    assert_eq!(changed("\"version\":1", "\"version\":2"), "prediction.version");
    assert_eq!(
        changed("\"version\":1", "\"version\":1,\"more\":0"),
        "prediction.format"
    );
    assert_eq!(changed("\"platform\"", "\"extra\":1,\"platform\""), "prediction.format");
    assert_eq!(changed("{\"events\"", "{ \"events\""), "prediction.not_canonical");
    assert_eq!(changed("\"vcpus\":1", "\"vcpus\":0"), "prediction.shape");
    assert_eq!(
        changed("\"memory_bytes\":536870912", "\"memory_bytes\":0"),
        "prediction.shape"
    );
    // Another digest, another order, another register: the registers no longer follow.
    let event = text.find("\"sha384\":\"").unwrap() + 10;
    let digit = if &text[event..=event] == "0" { "1" } else { "0" };
    let flipped = format!("{}{digit}{}", &text[..event], &text[event + 1..]);
    assert_eq!(code(Prediction::from_slice(flipped.as_bytes())), "prediction.registers");
    assert_eq!(
        changed("\"platform\":\"tpm\"", "\"platform\":\"tdx\""),
        "prediction.registers"
    );
    assert_eq!(changed("\"step\":\"initrd\"", "\"step\":\"load-options\""), "accepted");
    assert_eq!(
        changed("\"step\":\"initrd\"", "\"step\":\"initr\""),
        "prediction.format"
    );
    assert_eq!(
        code(Prediction::from_slice(&[FILE, b"\n"].concat())),
        "prediction.not_canonical"
    );
    assert_eq!(
        code(Prediction::from_slice(&vec![b' '; (256 << 10) + 1])),
        "prediction.size"
    );
    assert_eq!(code(Prediction::from_slice(FILE)), "accepted");
}

#[test]
fn a_prediction_names_what_it_was_made_from() {
    let machine = Machine::new();
    let boot = machine.boot();
    let make = |registers: &[u32], inputs: Vec<InputFile>| {
        code(Prediction::new(
            Platform::Tpm,
            registers,
            boot.events(),
            inputs,
            shape(),
        ))
    };
    let all: Vec<u32> = (0..=9).collect();
    assert_eq!(make(&all, machine.inputs()), "accepted");
    assert_eq!(make(&all[..9], machine.inputs()), "prediction.registers");
    assert_eq!(
        make(&[&all[..], &[9]].concat(), machine.inputs()),
        "prediction.registers"
    );
    assert_eq!(
        make(&[&all[..], &[24]].concat(), machine.inputs()),
        "prediction.registers"
    );
    for (place, input) in machine.inputs().into_iter().enumerate() {
        let mut inputs = machine.inputs();
        inputs.remove(place);
        assert_eq!(make(&all, inputs), "prediction.inputs", "{input:?}");
        let mut inputs = machine.inputs();
        inputs.push(input);
        assert_eq!(make(&all, inputs), "prediction.inputs", "{input:?} twice");
    }
    let mut inputs = machine.inputs();
    inputs.push(InputFile::of(Input::Constant, b""));
    assert_eq!(make(&all, inputs), "prediction.inputs");
    let many = boot.events().into_iter().cycle().take(129).collect();
    let made = Prediction::new(Platform::Tpm, &all, many, machine.inputs(), shape());
    assert_eq!(code(made), "prediction.events");
}

fn td_prediction(command_line: &str) -> Prediction {
    let file = |input| InputFile::of(input, b"recorded elsewhere");
    let mut inputs = vec![InputFile::of(Input::CommandLine, command_line.as_bytes())];
    for input in [
        Input::AcpiLoader,
        Input::AcpiRsdp,
        Input::AcpiTables,
        Input::Kernel,
        Input::Initrd,
    ] {
        inputs.push(file(input));
    }
    Prediction::new(Platform::Tdx, &PREDICTED, td::boot().events(), inputs, shape()).unwrap()
}

#[test]
fn reference_values_bind_registers_to_the_configuration_on_the_command_line() {
    let machine = Machine::new();
    let prediction = machine.prediction();
    let name = || Name::new("hanzo-core").unwrap();
    let reference = prediction.tpm_reference(name(), &machine.command_line, [4, 7]).unwrap();
    assert_eq!(reference.config_digest.to_string(), CONFIG);
    // PCR 9 covers the command line and is always among them.
    let indexes: Vec<_> = reference.pcrs.0.keys().copied().collect();
    assert_eq!(indexes, [4, 7, 9]);
    assert_eq!(Some(reference.pcrs.0[&9]), prediction.register(9).unwrap().sha256);

    let tpm = |prediction: &Prediction, command_line: &str, pcr: u8| {
        code(prediction.tpm_reference(name(), command_line, [pcr]))
    };
    assert_eq!(
        tpm(&prediction, &machine.command_line, 10),
        "prediction.reference.register"
    );
    assert_eq!(
        tpm(&prediction, "console=ttyS0", 4),
        "prediction.reference.command_line"
    );
    for line in [
        "console=ttyS0".to_owned(),
        "hanzo.config=abcd".to_owned(),
        format!("hanzo.config={}", CONFIG.to_uppercase()),
        format!("x.hanzo.config={CONFIG}"),
        format!("hanzo.config={CONFIG} hanzo.config={CONFIG}"),
        format!("hanzo.config={CONFIG} hanzo.config="),
    ] {
        let other = Machine {
            command_line: line.clone(),
            ..Machine::new()
        };
        assert_eq!(
            tpm(&other.prediction(), &line, 4),
            "prediction.reference.config",
            "{line}"
        );
    }

    // The whole table: every predicted register, the log, and the keys that the caller pins.
    let keys = AllowList::Listed(vec![Digest256([5; 32])]);
    let table = prediction
        .tpm_policy(name(), &machine.command_line, keys.clone())
        .unwrap();
    assert_eq!((table.hardware, table.event_log), (keys.clone(), Presence::Required));
    let [whole] = &table.references[..] else {
        panic!("expected one reference value");
    };
    assert!(whole.pcrs.0.keys().copied().eq(0..=9));
    assert_eq!(whole.config_digest, reference.config_digest);
    assert_eq!(
        code(prediction.tpm_policy(name(), "console=ttyS0", keys)),
        "prediction.reference.command_line"
    );

    let line = format!("quiet hanzo.config={CONFIG}");
    let td = td_prediction(&line);
    let mrtd = Digest384([1; 48]);
    let reference = td.tdx_reference(name(), &line, mrtd).unwrap();
    assert_eq!(
        reference.registers()[1..4]
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        td::QUOTED
    );
    assert_eq!((reference.mrtd, reference.rtmr3), (mrtd, Digest384([0; 48])));
    assert_eq!(reference.config_digest, Digest256::from_hex(CONFIG).unwrap());
    assert_eq!(tpm(&td, &line, 4), "prediction.reference.platform");
    let error = prediction
        .tdx_reference(name(), &machine.command_line, mrtd)
        .unwrap_err();
    assert_eq!(error.code(), "prediction.reference.platform");
}

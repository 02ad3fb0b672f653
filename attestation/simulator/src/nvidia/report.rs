//! Writes reports: SPDM 1.1 request and response (DSP0274), with NVIDIA's opaque fields in NVIDIA's order.

use super::device::DeviceSpec;

/// Bytes of the request: the response follows.
const REQUEST_BYTES: usize = 37;

/// Everything that the signature covers.
pub(super) fn unsigned(spec: &DeviceSpec, nonce: &[u8; 32]) -> Vec<u8> {
    let mut out = vec![0x11, 0xe0, 0x01, 0xff];
    out.extend(nonce);
    out.push(0);
    debug_assert_eq!(out.len(), REQUEST_BYTES);
    let record: Vec<u8> = spec
        .measurements
        .iter()
        .flat_map(|(i, value)| block(*i, value))
        .collect();
    out.extend([0x11, 0x60, 0, 0, spec.measurements.len() as u8]);
    out.extend(&(record.len() as u32).to_le_bytes()[..3]);
    out.extend(record);
    // The device's own nonce: nobody compares it.
    out.extend([0x5a; 32]);
    let opaque: Vec<u8> = fields(spec)
        .into_iter()
        .flat_map(|(id, value)| field(id, &value))
        .collect();
    out.extend((opaque.len() as u16).to_le_bytes());
    out.extend(opaque);
    out
}

fn block(index: u8, value: &[u8]) -> Vec<u8> {
    let mut out = vec![index, 1];
    out.extend((value.len() as u16 + 3).to_le_bytes());
    out.push(1);
    out.extend((value.len() as u16).to_le_bytes());
    out.extend(value);
    out
}

fn field(id: u16, value: &[u8]) -> Vec<u8> {
    let mut out = id.to_le_bytes().to_vec();
    out.extend((value.len() as u16).to_le_bytes());
    out.extend(value);
    out
}

fn fields(spec: &DeviceSpec) -> Vec<(u16, Vec<u8>)> {
    if spec.arch.is_gpu() {
        gpu_fields(spec)
    } else {
        switch_fields(spec)
    }
}

fn gpu_fields(spec: &DeviceSpec) -> Vec<(u16, Vec<u8>)> {
    let [a, b, c, d, e] = spec.vbios_version;
    let [project, project_sku, chip_sku] = spec.board.each_ref().map(|text| text_of(text));
    let mut out = vec![
        (6, vec![d, c, b, a, e, 0, 0, 0]),
        (14, vec![0xb1, 3, 0, 0]),
        (15, chip_sku),
        (17, project),
        (18, project_sku),
    ];
    out.extend(spec.driver_version.as_ref().map(|text| (3, text_of(text))));
    out.push((12, counts(64)));
    out.extend(spec.nvdec0_enabled.map(|on| (11, vec![on_off(on)])));
    out.extend(spec.stated_fwid.map(|fwid| (20, fwid.to_vec())));
    out.extend(spec.protected_pcie.map(|on| (21, vec![on_off(on)])));
    if !spec.switch_pdis.is_empty() {
        // Eighteen links; a GPU writes the ids of switches last byte first.
        let links = (0..18).map(|link| spec.switch_pdis[link % spec.switch_pdis.len()]);
        out.push((22, links.flat_map(|pdi| pdi.into_iter().rev()).collect()));
    }
    out.extend(spec.feature_flag.map(|flag| (36, flag.to_le_bytes().to_vec())));
    out.extend(spec.chip_info.as_ref().map(|text| (35, text_of(text))));
    out
}

fn switch_fields(spec: &DeviceSpec) -> Vec<(u16, Vec<u8>)> {
    let mut gpus = spec.gpu_pdis.concat();
    gpus.resize(64, 0);
    gpus.extend([0xff; 64]);
    let mut out = vec![
        (6, spec.vbios_text().into_bytes()),
        (22, spec.pdi().to_vec()),
        (12, counts(26)),
        (26, gpus),
        (24, vec![2, 0]),
        (25, vec![1, 0]),
    ];
    out.extend(spec.stated_fwid.map(|fwid| (20, fwid.to_vec())));
    out
}

fn on_off(on: bool) -> u8 {
    if on { 0xaa } else { 0x55 }
}

/// ASCII with a final zero byte.
fn text_of(text: &str) -> Vec<u8> {
    [text.as_bytes(), &[0]].concat()
}

fn counts(n: usize) -> Vec<u8> {
    [1_u32.to_le_bytes()].repeat(n).concat()
}

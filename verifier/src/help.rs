//! What to do, by code; a class has an answer for codes without one of their own.

use hanzo_attestation::evidence::Class;

pub(crate) fn of(code: &str, class: Class) -> &'static str {
    match code {
        "bundle.too_large" => "a bundle is at most 2 MiB: check that the file or address is the right one",
        "bundle.not_canonical" => "save the bundle's bytes as they came: an editor or a JSON formatter changed them",
        "bundle.unsupported" => "use a newer verifier, or ask the guest for the bundle format of this one",
        "bundle.config_digest" | "bundle.capability_digest" | "bundle.policy_digest" => {
            "somebody on the way changed the bundle: fetch it again, over another path if need be"
        }
        "binding.report_data" => "somebody mixed two guests' answers, or replayed one: fetch the bundle again",
        "binding.rcar_report_data" => "the guest must answer this session's nonce with this session's key: start again",
        "foreign.missing" => {
            "give the verifier what did not travel with the evidence: certificate, collateral or chain"
        }
        "foreign.unsupported" => "ask the guest for one of the formats that this version reads",
        "binding.foreign.nonce" | "binding.foreign.report_data" => {
            "the document answers somebody else, or is a recording: ask again with a nonce of your own"
        }
        "binding.foreign.nonce_unstated" => "give the whole REPORT_DATA that you expect instead of a nonce",
        "freshness.none" => {
            "ask with a challenge of your own; `read` shows what such a bundle says without trusting it"
        }
        "freshness.foreign_challenge" | "freshness.path" => {
            "the answer is a recording or was meant for somebody else: ask again with a new challenge"
        }
        "ratls.no_evidence" => {
            "ask the guest's address with a server name in the TLS handshake, or attest it over the network"
        }
        "ratls.spki_mismatch" => {
            "whoever made this certificate is not the guest in its evidence: do not use the connection"
        }
        "ratls.critical" | "ratls.duplicate_extension" | "ratls.certificate" | "ratls.wrapper" | "ratls.too_large" => {
            "give the leaf certificate as the guest sent it; `explain` reads bundles, `verify` reads dstack's certificates"
        }
        "freshness.stale" => "attest the guest again",
        "keyset.expired" => "ask the guest for its current keyset; `read` shows what an old bundle says",
        "keyset.lifetime" => "compare this machine's clock with the guest's; both must be within a minute",
        "snp.chain.root" => {
            "only AMD's roots count; a simulator's root must be given explicitly and marks every result"
        }
        "snp.report.version" => "use a newer verifier: this processor's firmware writes a newer report",
        "snp.key.masked" => "the platform's owner must clear MASK_CHIP_KEY, then ask the guest again",
        "snp.cert.expired" => "the guest must fetch a current certificate from AMD's KDS",
        "snp.cert.not_yet_valid" => "compare this machine's clock with the time",
        "snp.tcb.mismatch" => "the guest must fetch the certificate for the platform's current firmware from AMD's KDS",
        "snp.product.unknown" => "use a newer verifier: this one has no root for the processor",
        "snp.anchor.invalid" => {
            "the simulator root that was given is no certificate of a simulator: give its ARK in DER"
        }
        "snp.crl.issuer" | "snp.crl.signature" | "snp.crl.malformed" => "fetch AMD's CRL for this product again",
        "snp.crl.stale" => "fetch AMD's current CRL for the product and give it to the verifier",
        "snp.crl.revoked" => "AMD revoked this certificate: do not use this machine",
        "tdx.chain.root" => {
            "only Intel's root counts; a simulator's root must be given explicitly and marks every result"
        }
        "tdx.collateral.missing" => {
            "give the verifier Intel's collateral for this platform (--tdx-collateral), or have `staple` add it"
        }
        "tdx.tcb_info.stale" | "tdx.qe_identity.stale" | "tdx.crl.stale" => {
            "fetch Intel's current collateral for this platform; `staple` does"
        }
        "tdx.crl.revoked" | "tdx.tcb.revoked" => "Intel revoked this platform: do not use this machine",
        "tpm.chain.root" => "pin the root of this TPM's certificates, or its key, after checking it in person",
        "nvidia.chain.root" | "nvidia.rim.root" => {
            "only NVIDIA's roots count; a simulator's root must be given explicitly and marks every result"
        }
        "nvidia.ocsp.revoked" => "NVIDIA revoked this device: do not use it",
        "nvidia.ocsp.stale" | "nvidia.ocsp.incomplete" => "fetch NVIDIA's current OCSP answers; `staple` does",
        "nvidia.rim.expired" => "fetch the RIM again: NVIDIA signs the same values anew",
        "device.duplicate" => "do not use this guest: it shows one device as two",
        _ if class == Class::NotAuthentic && code.starts_with("nvidia.") => {
            "do not use this device: what it showed was not signed by a genuine one"
        }
        _ => match class {
            Class::Malformed => "fetch the bundle again; if it stays so, the guest or the way to it is broken",
            Class::NotAuthentic => "do not use this guest: what it showed was not signed by a genuine processor",
            Class::Unbound => "ask again with a new challenge",
            Class::Refused => "ask for a lower tier, or for another guest",
        },
    }
}

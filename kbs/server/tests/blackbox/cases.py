"""What the broker answers to a client that knows the protocol's description alone, right or wrong."""

import base64
import hashlib
import json
import time

import requests
from cryptography.hazmat.primitives.asymmetric import ec
from jwcrypto import jwk, jws

from client import *


@case("an admin puts what the others ask for")
def _():
    for name, secret in [("small", b"a small secret"), ("large", bytes(range(256)) * 256)]:
        reply = admin("POST", "resource/default/key/" + name, data=secret)
        assert reply.status_code == 200, reply.text


@case("the first request of a stock client: 401 with ErrorInformation, then the whole exchange")
def _():
    s = Session()
    refused(s.get("default/key/small"), 401, "kbs.session.unknown")
    s.attested()
    assert s.key.open(s.get("default/key/small")) == b"a small secret"
    refused(s.get("default/key/small"), 403, "kbs.grant.repeated")
    refused(s.get("default/key/none"), 404, "kbs.key.unknown")


@case("every classical algorithm")
def _():
    for key in [p256(), Ec(ec.SECP521R1(), "P-521", 66), Rsa(), Rsa(3072)]:
        s = Session(key=key).attested()
        assert key.open(s.get("default/key/small")) == b"a small secret"
        assert key.open(s.get("default/key/large")) == bytes(range(256)) * 256


@case("ML-KEM-768, where no policy falls back to a classical wrap")
def _():
    mlkem768.self_test()
    s = Session(key=Akp()).attested()
    assert s.key.open(s.get("default/key/small")) == b"a small secret"
    assert s.key.open(s.get("default/key/large")) == bytes(range(256)) * 256
    # Policy by name: the same key opens what no EC key gets.
    s = Session(tee="snp", key=Akp()).attested()
    assert len(s.key.open(s.get("default/key/postquantum"))) == 32
    # A ciphertext that was changed opens nothing.
    reply = s.get("default/key/small")
    body = reply.json()
    header = json.loads(unb64u(body["protected"]))
    header["ek"] = ("B" if header["ek"][0] == "A" else "A") + header["ek"][1:]
    body["protected"] = b64u(json.dumps(header, separators=(",", ":")).encode())
    reply._content = json.dumps(body).encode()
    try:
        s.key.open(reply)
    except Exception as e:
        assert type(e).__name__ == "InvalidUnwrap", repr(e)
    else:
        raise AssertionError("a changed ciphertext opened")
    short = Akp()
    short.public["pub"] = b64u(unb64u(short.public["pub"])[:-1])
    # Coefficients of q and more are refused (FIPS 203, 7.2).
    large = Akp()
    large.public["pub"] = b64u(b"\xff\xff" + unb64u(large.public["pub"])[2:])
    other = Akp()
    other.public["alg"] = "ML-KEM-1024+A256KW"
    for key, code in [(short, "kbs.wrap.jwk"), (large, "kbs.wrap.jwk"), (other, "kbs.wrap.jwk")]:
        s = Session(key=key)
        s.auth()
        refused(s.attest(), 400, code)


@case("simulated hardware evidence in CoCo's form")
def _():
    s = Session(tee="snp").attested()
    assert s.key.open(s.get("default/key/small")) == b"a small secret"


@case("keys that nothing is encrypted to")
def _():
    good, r = p256().public, Rsa().public
    for change, code in [
        ({**good, "y": good["x"]}, "kbs.wrap.jwk"),
        ({**good, "alg": "ECDH-ES"}, "kbs.wrap.jwk"),
        ({**good, "kid": "x"}, "kbs.wrap.jwk"),
        ({**r, "alg": "RSA1_5"}, "kbs.wrap.jwk"),
        ({**r, "e": "AQ"}, "kbs.wrap.jwk"),
        (Rsa(1024).public, "kbs.wrap.jwk"),
        ({"kty": "oct", "k": "AA", "alg": "A256KW"}, "kbs.wrap.jwk"),
        ({"kty": "AKP", "alg": "ML-KEM-768+A192KW", "pub": "AAAA"}, "kbs.wrap.jwk"),
        ({"kty": "AKP", "alg": "hanzo-hpke-x-wing", "pub": "AAAA"}, "kbs.wrap.key"),
    ]:
        s = Session()
        s.auth()
        s.key.public = change
        refused(s.attest(), 400, code)


@case("auth: versions, TEEs, bodies")
def _():
    s = Session()
    old = s.auth(version="0.1.0")
    refused(old, 401, "kbs.protocol.version")
    assert "KBS Client Protocol Version Mismatch" in old.text
    for tee in ["sgx", "cca", "csv", "se", "hygondcu", "nvidia", "sampledevice"]:
        refused(s.auth(tee=tee), 400, "kbs.tee.unsupported")
    refused(s.auth(tee="none such"), 400, "kbs.body.malformed")
    post = lambda data: requests.post(KBS + "/kbs/v0/auth", data=data, headers=JSON)
    for data in [b"", b"{", b"[]", b"\xff\xfe", b'{"version":"0.4.0","version":"0.4.0","tee":"snp","extra-params":""}']:
        refused(post(data), 400, "kbs.body.malformed")
    refused(post(b" " * 5000), 413, "kbs.body.too_large")


@case("attest: bodies, binding, and one attempt that counts")
def _():
    refused(requests.post(KBS + "/kbs/v0/attest", json={}), 401, "kbs.session.unknown")
    s = Session()
    s.auth()
    good = s.body()
    for pointer, value in [
        (("init-data",), {"format": "zip", "body": ""}),
        (("more",), 1),
        (("runtime-data", "more"), 1),
        (("tee-evidence", "primary_evidence"), {"quote": 1}),
    ]:
        s.auth()
        changed = json.loads(json.dumps(s.body()))
        place = changed
        for name in pointer[:-1]:
            place = place[name]
        place[pointer[-1]] = value
        reply = s.attest(changed)
        assert reply.status_code == 400 and reply.json()["type"].startswith(PREFIX), (pointer, reply.text)
    s.auth()
    reply = s.http.post(KBS + "/kbs/v0/attest", data=b" " * (1 << 20 | 2), headers=JSON)
    refused(reply, 413, "kbs.body.too_large")
    # Of another session; with another key, or with other additional evidence, under the same evidence.
    s.auth()
    refused(s.attest(good), 403, "kbs.session.nonce")
    s.auth()
    stolen = s.body()
    stolen["runtime-data"]["tee-pubkey"] = p256().public
    refused(s.attest(stolen), 403, "binding.sample")
    s.auth()
    added = s.body()
    added["tee-evidence"]["additional_evidence"] = "{}"
    refused(s.attest(added), 403, "binding.sample")
    s.auth()
    assert s.attest().status_code == 200
    refused(s.attest(), 401, "kbs.session.used")
    refused(s.attest(good), 401, "kbs.session.used")


@case("evidence of hardware for another session or key")
def _():
    s, thief = Session(tee="snp"), Session(tee="snp")
    s.auth()
    thief.auth()
    taken = s.body()
    taken["runtime-data"]["tee-pubkey"] = thief.key.public
    refused(s.attest(taken), 403, "binding.rcar_report_data")


@case("composite evidence")
def _():
    device = lambda digest: json.dumps({"sampledevice": {"svn": "2", "report_data": base64.b64encode(digest).decode()}})
    s = Session().attested(additional=device)
    assert s.key.open(s.get("default/key/small")) == b"a small secret"
    s = Session()
    s.auth()
    refused(s.attest(additional=lambda digest: device(bytes(48))), 403, "binding.sample")
    gpu = lambda nonce: json.dumps({"nvidia": helper({"gpu": nonce.hex()})})
    s = Session(tee="snp").attested(additional=lambda digest: gpu(digest[:32]))
    assert s.key.open(s.get("default/key/small")) == b"a small secret"
    # A report of the same GPU for another session, however the processor signed for it.
    s = Session(tee="snp")
    s.auth()
    refused(s.attest(additional=lambda digest: gpu(bytes(32))), 403, "binding.rcar_device_nonce")
    # And swapped after the processor signed.
    s.auth()
    body = s.body(additional=lambda digest: gpu(digest[:32]))
    body["tee-evidence"]["additional_evidence"] = gpu(bytes(32))
    refused(s.attest(body), 403, "binding.rcar_report_data")


@case("init-data")
def _():
    text = 'version = "0.1.0"\nalgorithm = "sha256"\n[data]\n"aa.toml" = "x"\n'
    init = {"format": "toml", "body": text}
    s = Session(tee="snp")
    s.auth()
    refused(s.attest(init=init), 403, "binding.init_data")
    s.auth()
    body = s.body(init=init)
    report = (hashlib.sha384(jcs({**body["runtime-data"], "additional-evidence": ""})).digest() + bytes(16)).hex()
    host_data = hashlib.sha256(text.encode()).hexdigest()
    body["tee-evidence"]["primary_evidence"] = helper({"tee": "snp", "report_data": report, "host_data": host_data})
    assert s.attest(body).status_code == 200


@case("policies: tier, wrap, simulated")
def _():
    s = Session(tee="snp").attested()
    refused(s.get("default/key/tier3"), 403, "tier.gpu_cc.no_evidence")
    refused(s.get("default/key/postquantum"), 403, "kbs.wrap.not_allowed")
    refused(Session().attested().get("default/key/tier2"), 403, "kbs.sample")


@case("tokens")
def _():
    s = Session().attested()
    header, payload, signature = s.token.split(".")
    for path in ["/.well-known/jwks.json", "/kbs/v0/jwks"]:
        keys = requests.get(KBS + path).json()["keys"]
        token = jws.JWS()
        token.deserialize(s.token, key=jwk.JWK(**keys[0]), alg="ES256")
    assert json.loads(unb64u(header)) == {"typ": "JWT", "alg": "ES256", "kid": keys[0]["kid"]}
    claims = json.loads(token.payload)
    now = time.time()
    assert claims["nbf"] <= now + 1 and now < claims["exp"] <= now + 61, claims
    cpu = claims["submods"]["cpu0"]
    runtime = cpu["ear.veraison.annotated-evidence"]["runtime_data_claims"]
    assert runtime == {"nonce": s.nonce, "tee-pubkey": s.key.public} and claims["cnf"]["jwk"] == s.key.public
    assert cpu["ear.status"] == "contraindicated", "the sample TEE proves nothing"
    # A token stands for its session and no other.
    get = lambda token, **more: requests.get(
        KBS + "/kbs/v0/resource/default/key/small", headers={"Authorization": "Bearer " + token}, **more
    )
    assert s.key.open(get(s.token)) == b"a small secret"
    other = Session().attested()
    refused(get(s.token, cookies=other.http.cookies), 401, "kbs.session.unknown")
    flip = ("B" if payload[20] == "A" else "A").join([payload[:20], payload[21:]])
    none = b64u(b'{"alg":"none","typ":"JWT"}')
    # A key that the token brings along is nobody's.
    own = ec.generate_private_key(ec.SECP256R1())
    mine = jwk.JWK.from_pyca(own)
    forged = jws.JWS(token.payload)
    forged.add_signature(mine, "ES256", json.dumps({"alg": "ES256", "jwk": json.loads(mine.export_public())}))
    for bad in [
        ".".join([header, flip, signature]),
        ".".join([none, payload, ""]),
        forged.serialize(compact=True),
        "x",
        "",
    ]:
        refused(get(bad), 401, "kbs.session.unknown")


@case("names, plugins, methods")
def _():
    s = Session().attested()
    for path in ["a/..%2f..%2fb/c", "a/b/%2e%2e", "A/b/c", "a/b/" + "c" * 65, "a/b/c%00"]:
        reply = s.get(path)
        assert reply.status_code == 404 and reply.json()["code"] in ("kbs.key.unknown", "kbs.path.unknown"), reply.text
    for path in ["a/b", "a/b/c/d"]:
        refused(s.get(path), 404, "kbs.path.unknown")
    get = lambda path: s.http.get(KBS + path)
    for path in ["/kbs/v0/nebula-ca/credential?name=x", "/kbs/v0/pkcs11/x/y", "/kbs/v0/none"]:
        refused(get(path), 404, "kbs.plugin.unknown")
    refused(get("/nowhere"), 404, "kbs.path.unknown")
    refused(get("/kbs/v0/auth"), 405, "kbs.method")
    refused(s.http.put(KBS + "/kbs/v0/resource/a/b/c"), 405, "kbs.method")


@case("admin: resources come and go")
def _():
    assert admin("POST", "resource/default/key/new", data=b"one").status_code == 200
    s = Session().attested()
    assert s.key.open(s.get("default/key/new")) == b"one"
    assert admin("POST", "resource/default/key/new", data=b"two").status_code == 200
    assert s.key.open(s.get("default/key/new")) == b"two"
    assert admin("DELETE", "resource/default/key/new").status_code == 200
    refused(Session().attested().get("default/key/new"), 403, "kbs.key.revoked")
    refused(admin("DELETE", "resource/default/key/new"), 404, "kbs.key.unknown")
    refused(admin("DELETE", "resource/default/key/never"), 404, "kbs.key.unknown")
    refused(admin("POST", "resource/default/key/new", data=b""), 413, "kbs.resource.length")
    refused(admin("POST", "resource/default/key/new", data=bytes(65537)), 413, "kbs.resource.length")
    refused(admin("POST", "resource/default/key/new", data=bytes(65538)), 413, "kbs.body.too_large")
    refused(admin("POST", "resource/Default/key/new", data=b"x"), 404, "kbs.path.unknown")


@case("admin: who may")
def _():
    put = lambda token, path="default/key/admin": admin("POST", "resource/" + path, token, b"x")
    refused(put({}), 401, "kbs.bearer.missing")
    refused(put({"Authorization": "Basic x"}), 401, "kbs.bearer.missing")
    refused(put({"Authorization": "Bearer x"}), 401, "kbs.bearer.malformed")
    refused(put(bearer(name="nobody")), 401, "kbs.bearer.not_pinned")
    refused(put(bearer(seed=6)), 401, "kbs.bearer.signature")
    refused(put(bearer(alg="none")), 401, "kbs.bearer.algorithm")
    refused(put(bearer(alg="HS256")), 401, "kbs.bearer.algorithm")
    refused(put(bearer(role="tenant-admin")), 401, "kbs.bearer.role")
    refused(put(bearer(role=None)), 401, "kbs.bearer.malformed")
    refused(put(bearer(exp=None)), 401, "kbs.bearer.malformed")
    now = int(time.time())
    for times in [{"iat": now - 70, "exp": now - 1}, {"exp": now + 90000}, {"iat": now + 300, "exp": now + 400}, {"nbf": now + 300}]:
        refused(put(bearer(**times)), 401, "kbs.bearer.time")
    tenant = bearer(name="tenant", seed=7, role="tenant-admin")
    refused(put(tenant), 403, "kbs.bearer.tenant")
    assert put(tenant, "acme/key/admin").status_code == 200


@case("admin: resource policies and reference values are a tenant's own")
def _():
    acme = bearer(name="tenant", seed=7, role="tenant-admin")
    ask = lambda: Session().attested().get("acme/key/admin")
    module = lambda text: json.dumps({"policy": b64u(text.encode())})
    payload = lambda values: base64.b64encode(json.dumps(values).encode()).decode()
    message = lambda values: json.dumps({"version": "0.1.0", "type": "sample", "payload": payload(values)})
    assert ask().status_code == 200
    deny = "package policy\ndefault allow = false\n"
    assert admin("POST", "resource-policy", acme, module(deny)).status_code == 200
    refused(ask(), 403, "kbs.tenant_policy")
    assert Session().attested().get("default/key/small").status_code == 200
    assert unb64u(admin("GET", "resource-policy", acme).json()["policy"]).decode() == deny
    looks = 'package policy\nimport rego.v1\nallow if "1" in data.reference.svn\n'
    assert admin("POST", "resource-policy", acme, module(looks)).status_code == 200
    refused(ask(), 403, "kbs.tenant_policy")
    assert admin("POST", "reference-value", acme, message({"svn": ["1"]})).status_code == 200
    assert admin("GET", "reference-value/svn", acme).json() == ["1"]
    assert ask().status_code == 200
    refused(admin("POST", "resource-policy", None, module(deny)), 400, "kbs.tenant.unnamed")
    refused(admin("GET", "resource-policy?tenant=none"), 404, "kbs.document.unknown")
    affirm = {"type": "rego", "policy_id": "default_cpu", "policy": b64u(b"package policy")}
    refused(admin("POST", "attestation-policy", {}, json.dumps(affirm)), 401, "kbs.bearer.missing")
    refused(admin("POST", "attestation-policy", None, json.dumps(affirm)), 501, "kbs.policy.global")

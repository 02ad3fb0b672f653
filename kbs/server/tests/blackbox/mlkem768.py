"""ML-KEM-768 (FIPS 203), KMAC256 (SP 800-185) and AES key unwrap, written from the standards and from nothing else.

Test code: it is slow, and its time depends on its secrets. `python3 mlkem768.py VECTORS.json` checks it against NIST's ACVP
encapsulation and decapsulation tests.
"""

import hashlib
import json
import os
import sys

N, Q, K, ETA, DU, DV = 256, 3329, 3, 2, 10, 4
EK_BYTES, DK_BYTES, CT_BYTES = 384 * K + 32, 768 * K + 96, 32 * (DU * K + DV)


def bit_reversed(i):
    return int(f"{i:07b}"[::-1], 2)


ZETAS = [pow(17, bit_reversed(i), Q) for i in range(128)]
GAMMAS = [pow(17, 2 * bit_reversed(i) + 1, Q) for i in range(128)]


def g(data):
    digest = hashlib.sha3_512(data).digest()
    return digest[:32], digest[32:]


def h(data):
    return hashlib.sha3_256(data).digest()


def j(data):
    return hashlib.shake_256(data).digest(32)


def bits(data):
    return [data[i // 8] >> (i % 8) & 1 for i in range(8 * len(data))]


def encode(d, values):
    number = sum(v << (d * i) for i, v in enumerate(values))
    return number.to_bytes(32 * d, "little")


def decode(d, data):
    number = int.from_bytes(data, "little")
    modulus = Q if d == 12 else 1 << d
    return [(number >> (d * i) & ((1 << d) - 1)) % modulus for i in range(N)]


def compress(d, values):
    return [((v << d) + Q // 2) // Q % (1 << d) for v in values]


def decompress(d, values):
    return [(v * Q + (1 << (d - 1))) >> d for v in values]


def sample_ntt(seed):
    stream = hashlib.shake_128(seed).digest(3 * 672)
    out = []
    for i in range(0, len(stream), 3):
        a, b, c = stream[i : i + 3]
        for d in (a + 256 * (b % 16), b // 16 + 16 * c):
            if d < Q and len(out) < N:
                out.append(d)
    assert len(out) == N
    return out


def sample_cbd(data):
    b = bits(data)
    return [(sum(b[4 * i : 4 * i + 2]) - sum(b[4 * i + 2 : 4 * i + 4])) % Q for i in range(N)]


def prf(seed, n):
    return hashlib.shake_256(seed + bytes([n])).digest(64 * ETA)


def ntt(f):
    f, i, length = list(f), 1, 128
    while length >= 2:
        for start in range(0, N, 2 * length):
            zeta, i = ZETAS[i], i + 1
            for k in range(start, start + length):
                t = zeta * f[k + length] % Q
                f[k + length], f[k] = (f[k] - t) % Q, (f[k] + t) % Q
        length //= 2
    return f


def inverse_ntt(f):
    f, i, length = list(f), 127, 2
    while length <= 128:
        for start in range(0, N, 2 * length):
            zeta, i = ZETAS[i], i - 1
            for k in range(start, start + length):
                t = f[k]
                f[k], f[k + length] = (t + f[k + length]) % Q, zeta * (f[k + length] - t) % Q
        length *= 2
    return [v * 3303 % Q for v in f]


def multiply(f, e):
    out = []
    for i in range(128):
        a0, a1, b0, b1 = f[2 * i], f[2 * i + 1], e[2 * i], e[2 * i + 1]
        out += [(a0 * b0 + a1 * b1 * GAMMAS[i]) % Q, (a0 * b1 + a1 * b0) % Q]
    return out


def add(*parts):
    return [sum(values) % Q for values in zip(*parts)]


def matrix(rho):
    return [[sample_ntt(rho + bytes([c, r])) for c in range(K)] for r in range(K)]


def key_gen(d=None, z=None):
    """Encapsulation and decapsulation key."""
    d, z = d or os.urandom(32), z or os.urandom(32)
    rho, sigma = g(d + bytes([K]))
    a = matrix(rho)
    s = [ntt(sample_cbd(prf(sigma, i))) for i in range(K)]
    e = [ntt(sample_cbd(prf(sigma, K + i))) for i in range(K)]
    t = [add(*(multiply(a[i][n], s[n]) for n in range(K)), e[i]) for i in range(K)]
    ek = b"".join(encode(12, p) for p in t) + rho
    return ek, b"".join(encode(12, p) for p in s) + ek + h(ek) + z


def pke_encrypt(ek, m, r):
    t = [decode(12, ek[384 * i : 384 * (i + 1)]) for i in range(K)]
    a = matrix(ek[384 * K :])
    y = [ntt(sample_cbd(prf(r, i))) for i in range(K)]
    e1 = [sample_cbd(prf(r, K + i)) for i in range(K)]
    e2 = sample_cbd(prf(r, 2 * K))
    u = [add(inverse_ntt(add(*(multiply(a[n][i], y[n]) for n in range(K)))), e1[i]) for i in range(K)]
    mu = decompress(1, decode(1, m))
    v = add(inverse_ntt(add(*(multiply(t[n], y[n]) for n in range(K)))), e2, mu)
    return b"".join(encode(DU, compress(DU, p)) for p in u) + encode(DV, compress(DV, v))


def pke_decrypt(dk, c):
    parts = [c[32 * DU * i : 32 * DU * (i + 1)] for i in range(K)]
    u = [decompress(DU, decode(DU, p)) for p in parts]
    v = decompress(DV, decode(DV, c[32 * DU * K :]))
    s = [decode(12, dk[384 * i : 384 * (i + 1)]) for i in range(K)]
    product = inverse_ntt(add(*(multiply(s[i], ntt(u[i])) for i in range(K))))
    w = [(a - b) % Q for a, b in zip(v, product)]
    return encode(1, compress(1, w))


def encapsulate(ek, m):
    secret, r = g(m + h(ek))
    return secret, pke_encrypt(ek, m, r)


def decapsulate(dk, c):
    """The shared secret; another one, which nobody knows, for a ciphertext that was changed."""
    assert len(dk) == DK_BYTES and len(c) == CT_BYTES
    pke, ek, ek_hash, z = dk[: 384 * K], dk[384 * K : 768 * K + 32], dk[768 * K + 32 : 768 * K + 64], dk[768 * K + 64 :]
    m = pke_decrypt(pke, c)
    secret, r = g(m + ek_hash)
    return secret if pke_encrypt(ek, m, r) == c else j(z + c)


ROTATIONS = [[0, 36, 3, 41, 18], [1, 44, 10, 45, 2], [62, 6, 43, 15, 61], [28, 55, 25, 21, 56], [27, 20, 39, 8, 14]]


def round_constants():
    # FIPS 202, algorithm 5: a shift register of x^8 + x^6 + x^5 + x^4 + 1.
    register, out = 1, []
    for _ in range(24):
        value = 0
        for n in range(7):
            if register & 1:
                value |= 1 << ((1 << n) - 1)
            register = register << 1 ^ (0x171 if register & 0x80 else 0)
        out.append(value)
    return out


CONSTANTS = round_constants()


def keccak_f(a):
    mask = (1 << 64) - 1
    rotate = lambda v, n: (v << n | v >> (64 - n)) & mask
    for constant in CONSTANTS:
        c = [a[x][0] ^ a[x][1] ^ a[x][2] ^ a[x][3] ^ a[x][4] for x in range(5)]
        d = [c[x - 1] ^ rotate(c[(x + 1) % 5], 1) for x in range(5)]
        b = [[0] * 5 for _ in range(5)]
        for x in range(5):
            for y in range(5):
                b[y][(2 * x + 3 * y) % 5] = rotate(a[x][y] ^ d[x], ROTATIONS[x][y])
        a = [[b[x][y] ^ (~b[(x + 1) % 5][y] & mask & b[(x + 2) % 5][y]) for y in range(5)] for x in range(5)]
        a[0][0] ^= constant
    return a


def keccak256(data, suffix, size):
    """The sponge of SHAKE256 and cSHAKE256: rate 136, and the bits that tell them apart."""
    rate = 136
    padded = bytearray(data + bytes([suffix]))
    padded += bytes(-len(padded) % rate)
    padded[-1] |= 0x80
    state = [[0] * 5 for _ in range(5)]
    for block in range(0, len(padded), rate):
        for n in range(rate // 8):
            word = padded[block + 8 * n : block + 8 * n + 8]
            state[n % 5][n // 5] ^= int.from_bytes(word, "little")
        state = keccak_f(state)
    assert size <= rate
    words = (state[n % 5][n // 5].to_bytes(8, "little") for n in range(rate // 8))
    return b"".join(words)[:size]


def left_encode(n):
    number = n.to_bytes(max(1, (n.bit_length() + 7) // 8), "big")
    return bytes([len(number)]) + number


def right_encode(n):
    number = left_encode(n)
    return number[1:] + number[:1]


def bytepad(data, width):
    data = left_encode(width) + data
    return data + bytes(-len(data) % width)


def encode_string(data):
    return left_encode(8 * len(data)) + data


def kmac256(key, data, size, custom=b""):
    start = bytepad(encode_string(b"KMAC") + encode_string(custom), 136)
    return keccak256(start + bytepad(encode_string(key), 136) + data + right_encode(8 * size), 0x04, size)


def open_cek(dk, ek_header, encrypted_key, unwrap):
    """The content key of a JWE with `ML-KEM-768+A192KW` (draft-ietf-jose-pqc-kem-05)."""
    alg = b"ML-KEM-768+A192KW"
    info = len(alg).to_bytes(4, "big") + alg + (192).to_bytes(4, "big")
    return unwrap(kmac256(decapsulate(dk, ek_header), info, 24), encrypted_key)


def self_test():
    assert keccak256(b"abc", 0x1F, 64) == hashlib.shake_256(b"abc").digest(64)
    # SP 800-185, KMAC samples 4 and 5.
    key = bytes(range(0x40, 0x60))
    four = kmac256(key, bytes(range(4)), 64, b"My Tagged Application")
    assert four.hex().startswith("20c570c31346f703c9ac36c61c03cb64"), four.hex()
    five = kmac256(key, bytes(range(200)), 64)
    assert five.hex().startswith("75358cf39e41494e949707927cee0af2"), five.hex()
    ek, dk = key_gen()
    assert len(ek) == EK_BYTES and len(dk) == DK_BYTES
    secret, c = encapsulate(ek, os.urandom(32))
    assert decapsulate(dk, c) == secret
    changed = bytes([c[0] ^ 1]) + c[1:]
    assert decapsulate(dk, changed) != secret


def acvp(path):
    done = 0
    for group in json.load(open(path))["testGroups"]:
        for test in group["tests"]:
            field = lambda name: bytes.fromhex(test.get(name) or group.get(name) or "")
            if group["function"] == "encapsulation":
                assert encapsulate(field("ek"), field("m")) == (field("k"), field("c")), test["tcId"]
            else:
                assert decapsulate(field("dk"), field("c")) == field("k"), test["tcId"]
            done += 1
    return done


if __name__ == "__main__":
    self_test()
    print("acvp", acvp(sys.argv[1]) if len(sys.argv) > 1 else 0)

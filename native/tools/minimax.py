"""Derives the polynomials of micro/coefficients.h, and states their error: python tools/minimax.py > micro/coefficients.h

exp(r) - 1 = r + r² q(r) on |r| ≤ ln(2)/2: q is the minimax polynomial of (exp(r) - 1 - r) / r², found by Remez exchange
in 60 digits.
"""

from mpmath import mp, mpf

mp.dps = 60


def target(r: mpf) -> mpf:
    if abs(r) < mpf("0.01"):
        return mp.fsum(r**k / mp.factorial(k + 2) for k in range(30))
    return (mp.expm1(r) - r) / r**2


def value(q: list[mpf], r: mpf) -> mpf:
    return mp.polyval(q[::-1], r)


def remez(degree: int, bound: mpf) -> list[mpf]:
    """The polynomial of that degree whose largest error on [-bound, bound] is smallest; its coefficients, constant first."""
    n = degree + 2
    nodes = [bound * mp.cos(mp.pi * (n - 1 - k) / (n - 1)) for k in range(n)]
    grid = [bound * (mpf(k) / 600 * 2 - 1) for k in range(601)]
    for _ in range(8):
        system = mp.matrix(n, n)
        for row, r in enumerate(nodes):
            for k in range(degree + 1):
                system[row, k] = r**k
            system[row, degree + 1] = (-1) ** row
        solution = mp.lu_solve(system, mp.matrix([target(r) for r in nodes]))
        q = [solution[k] for k in range(degree + 1)]
        errors = [target(r) - value(q, r) for r in grid]
        pieces: list[list[int]] = []
        for k, error in enumerate(errors):
            if pieces and (errors[pieces[-1][-1]] > 0) == (error > 0):
                pieces[-1].append(k)
            else:
                pieces.append([k])
        extremes = [max(piece, key=lambda k: abs(errors[k])) for piece in pieces]
        if len(extremes) != n:
            raise ArithmeticError(f"{len(extremes)} extremes, expected {n}")
        nodes = [grid[k] for k in extremes]
    return q


def main() -> None:
    bound = mp.log(2) / 2 * mpf("1.001")
    print("// Written by tools/minimax.py; do not edit.")
    print("#pragma once\n")
    print("namespace bptt::BPTT_ISA {\nnamespace {\n")
    print("// exp(r) - 1 = r + r² (q[0] + q[1] r + ...) for |r| ≤ ln(2)/2.")
    print("template <class S>\nstruct Exponential;\n")
    for name, degree, digits, suffix in (("float", 5, 9, "f"), ("double", 10, 17, "")):
        q = remez(degree, bound)
        grid = [bound * (mpf(k) / 4000 * 2 - 1) for k in range(4001)]
        worst = max(abs((r + r**2 * value(q, r)) / mp.expm1(r) - 1) for r in grid if r)
        print(f"// Relative error of exp(r) - 1, rounding apart: {mp.nstr(worst, 2)}.")
        print(f"template <>\nstruct Exponential<{name}> {{")
        print(f"    static constexpr int degree = {degree};")
        print(f"    static constexpr {name} q[] = {{")
        for coefficient in q:
            print(f"        {mp.nstr(coefficient, digits, strip_zeros=False)}{suffix},")
        print("    };\n};\n")
    print("}  // namespace\n}  // namespace bptt::BPTT_ISA")


if __name__ == "__main__":
    main()

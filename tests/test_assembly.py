"""gpunet.testing.assembly: what it reads from PTX and from machine code."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpunet.testing import assembly
from gpunet.testing.assembly import Sass

# From NVRTC 13.5: `y4[i] = x4[i] * rows[(clock[0] & 255) * 3 + 1]`, and what stands around it.
PTX = """
	.reg .f64 	%fd<9>;
	.param .u64 scale_param_0,
	ld.param.u64 	%rd35, [scale_param_0];
	cvta.to.global.u64 	%rd39, %rd37;
	ld.global.u8 	%rd40, [%rd39];
	mul.lo.s64 	%rd42, %rd40, 12;
	add.s64 	%rd43, %rd41, %rd42;
	ld.global.f32 	%f1, [%rd43+4];
	mov.u32 	%r1, %ctaid.x;
	mul.wide.u32 	%rd3, %r1, 256;
	mov.u32 	%r2, %tid.x;
	cvt.u64.u32 	%rd4, %r2;
	add.s64 	%rd65, %rd3, %rd4;
$L__BB0_6:
	shl.b64 	%rd49, %rd65, 4;
	add.s64 	%rd62, %rd2, %rd49;
	ld.global.v4.f32 	{%f2, %f3, %f4, %f5}, [%rd62];
	mul.ftz.f32 	%f10, %f1, %f5;
	st.global.v4.f32 	[%rd61], {%f13, %f12, %f11, %f10};
	@%p4 bra 	$L__BB0_6;
"""


def test_a_number_that_all_threads_share_is_no_element_of_an_array() -> None:
    assert assembly.narrow_load(PTX) == ""


@pytest.mark.parametrize(
    "load",
    [
        "ld.global.f32 	%f2, [%rd62]",
        "@%p1 ld.global.nc.f32 %f2, [%rd62+4]",
        "ld.global.u32 	%r9, [%rd62+12]",
    ],
)
def test_an_element_loaded_alone_is_seen(load: str) -> None:
    found = assembly.narrow_load(PTX.replace("	st.global", f"	{load};\n	st.global"))
    assert found == " ".join(load.split())


def test_an_address_from_an_element_is_the_threads_own_and_so_is_one_after_a_loop() -> None:
    """Rows by their numbers; and a pointer that a loop moves on from its end to its begin."""
    through = "	ld.global.v2.u64 {%rd70, %rd71}, [%rd62];\n	ld.global.f32 %f9, [%rd71];\n"
    assert assembly.narrow_load(PTX + through) == "ld.global.f32 %f9, [%rd71]"
    looped = PTX.replace("add.s64 	%rd43,", "mov.u64 %rd42, %rd80;\n	add.s64 	%rd43,")
    assert assembly.narrow_load(looped) == ""
    again = assembly.narrow_load(looped + "	add.s64 	%rd80, %rd80, %rd4;\n")
    assert again == "ld.global.f32 %f1, [%rd43+4]"


def test_a_wide_load_and_one_of_shared_memory_are_none() -> None:
    for other in ("ld.global.f64 %fd1, [%rd62]", "ld.shared.f32 %f9, [%rd62]"):
        assert assembly.narrow_load(f"{PTX}	{other};\n") == ""


@pytest.mark.parametrize(
    ("text", "claims"),
    [
        ("float4 v = x[i];", True),
        ("reinterpret_cast<const double2 *>(x)", True),
        ("struct alignas(16) Pack { float v[4]; };", True),
        ("float x4 = 4; // four floats", False),
        ("float4 v; // scalar loads: labels, one a row", False),
    ],
)
def test_a_text_that_names_vectors_claims_them(text: str, claims: bool) -> None:
    assert assembly.names_vectors(text) is claims


def test_doubles_are_found_among_the_instructions_only() -> None:
    assert assembly.doubles(PTX) == ""
    assert assembly.doubles(PTX + "	@%p1 cvt.f64.f32 	%fd1, %f1;\n") == (
        "@%p1 cvt.f64.f32 %fd1, %f1;"
    )


# From nvdisasm 13.5: a division (with its rare case in a function), a loop, and a row's number.
SASS = """
gpunet_k:
        /*0000*/                   LDC R1, c[0x0][0x28] ;
.L_x_24:
        /*00a0*/               @P0 EXIT ;
.L_x_10:
        /*0280*/                   LDG.E.U8 R3, desc[UR8][R2.64] ;
        /*0290*/                   LDG.E R8, desc[UR8][R8.64] ;
        /*0390*/                   FCHK P0, R0, R15 ;
        /*03e0*/              @!P0 BRA `(.L_x_1) ;
        /*0410*/                   MOV R14, 0x430 ;
        /*0420*/                   CALL.REL.NOINC `($__internal_1_$__cuda_sm3x_div_rn) ;
        /*0430*/                   IMAD.MOV.U32 R2, RZ, RZ, R3 ;
.L_x_1:
        /*0440*/                   LDG.E.128.CONSTANT R16, desc[UR8][R12.64] ;
        /*04e0*/              @!P0 BRA `(.L_x_2) ;
        /*04f0*/                   FMUL.FTZ R15, R15, R2 ;
.L_x_2:
        /*09f0*/                   STG.E.64 desc[UR8][R6.64], R3 ;
        /*0a50*/                   STG.E desc[UR8][R10.64], R0 ;
        /*0ac0*/              @!P0 BRA `(.L_x_10) ;
        /*0ae0*/                   EXIT ;
        .type           $__internal_1_$__cuda_sm3x_div_rn,@function
        .size           $__internal_1_$__cuda_sm3x_div_rn,(.L_x_27 - $__internal)
$__internal_1_$__cuda_sm3x_div_rn:
        /*0af0*/                   LDG.E R9, desc[UR8][R12.64] ;
        /*0c60*/                   RET.REL.NODEC R12 `(gpunet_k) ;
        /*1120*/                   NOP;
"""


def test_instructions_and_widths_are_those_of_the_kernel_without_the_rare_cases() -> None:
    expected = Sass(13, loads={"8": 1, "32": 1, "128": 1}, stores={"32": 1, "64": 1})
    assert assembly.read_sass(SASS) == expected


# An if, its else, and a loop around both.
BRANCHES = """
.L_x_0:
        /*0000*/              @P0 BRA `(.L_x_1) ;
        /*0010*/                   STG.E desc[UR8][R6.64], R3 ;
        /*0020*/                   BRA `(.L_x_2) ;
.L_x_1:
        /*0030*/                   STG.E.128 desc[UR8][R6.64], R4 ;
        /*0040*/                   FMUL R1, R1, R2 ;
        /*0050*/                   FMUL R2, R1, R2 ;
.L_x_2:
        /*0060*/              @P1 BRA `(.L_x_0) ;
        /*0070*/                   EXIT ;
        /*0080*/                   FMUL R1, R1, R2 ;
"""


def test_of_two_branches_the_longer_counts() -> None:
    assert assembly.read_sass(BRANCHES) == Sass(6, stores={"128": 1})
    longer = BRANCHES.replace("BRA `(.L_x_2)", "FMUL R1, R1, R2")  # falls into the other
    assert assembly.read_sass(longer) == Sass(8, stores={"32": 1, "128": 1})


def test_multiply_adds_are_those_of_the_block_that_has_most() -> None:
    sass = assembly.read_sass(BRANCHES.replace("FMUL R1, R1, R2", "FFMA R1, R1, R2, R1"))
    assert (sass.multiply_adds, sass.among) == (1, 3)
    sass = assembly.read_sass(BRANCHES.replace("FMUL", "DFMA"))
    assert (sass.multiply_adds, sass.among) == (2, 3)


def test_a_text_without_instructions_is_an_error() -> None:
    with pytest.raises(ValueError, match="no instruction"):
        assembly.read_sass("nvdisasm fatal")


def test_nvdisasm_is_found_on_path_and_its_refusal_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "nvdisasm"
    program.write_text(
        '#!/bin/sh\nif [ "$1" = --version ]; then echo "release 13.5, V13.5.37"; exit 0; fi\n'
        "echo 'not a cubin' >&2\nexit 1\n"
    )
    program.chmod(0o755)
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    for function in (assembly.nvdisasm, assembly.version):
        function.cache_clear()
    try:
        assert assembly.nvdisasm() == program
        assert assembly.version() == "13.5.37"
        with pytest.raises(RuntimeError, match="nvdisasm: not a cubin"):
            assembly.disassemble(b"x")
    finally:
        for function in (assembly.nvdisasm, assembly.version):
            function.cache_clear()

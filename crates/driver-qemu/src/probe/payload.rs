//! The program that the acceleration probe boots: 2 KiB that do what a kernel does while starting.
//!
//! A boot sector that works says little: there are hosts where KVM runs supervisor code by
//! emulating it one instruction at a time, and dies at the first user-mode instruction. So the
//! program goes through real mode (a disk read by the BIOS), protected mode, long mode with paging,
//! 24 page faults that it mends itself, 50 timer interrupts, and then user mode with CPUID, SSE,
//! system calls and 200 million turns of a loop under a ticking timer: 0.1 s on a processor, more
//! than a minute by emulation. It reports each stage by a letter on port 0xE9 and ends QEMU through
//! `isa-debug-exit` on port 0xF4.
//!
//! The assembler is here rather than in a build step so that the source is what runs. It is data
//! for this program: nothing here is ever executed on the host.
#![expect(
    unsafe_code,
    reason = "assembling the guest's program into this one's read-only data"
)]

/// What the program writes to port 0xF4 in the end; QEMU's exit code is `value * 2 + 1`.
pub(super) const SUCCESS_EXIT_CODE: i32 = 0x2a * 2 + 1;

/// The stages in order, as they appear on port 0xE9.
pub(super) const STAGES: [(u8, &str); 7] = [
    (b'R', "real mode and the BIOS"),
    (b'P', "protected mode"),
    (b'L', "long mode with paging"),
    (b'I', "its interrupt table"),
    (b'F', "page faults"),
    (b'T', "timer interrupts"),
    (b'U', "user mode at full speed"),
];

/// Bytes of the program: a boot sector and three more sectors.
const SIZE_BYTES: usize = 2048;

std::arch::global_asm!(
    r#"
    .section .rodata.stampo_probe, "a"
    .globl stampo_probe_payload
    .balign 16
stampo_probe_payload:
    .code16
    cli
    xor ax, ax
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov sp, 0x7c00
    mov ax, 0x0203              # the BIOS reads three more sectors to 0x7e00
    mov cx, 0x0002
    xor dh, dh
    mov bx, 0x7e00
    int 0x13
    jc 9f
    mov al, 'R'
    out 0xe9, al
    lgdt [0x7c78]
    mov eax, cr0
    or al, 1
    mov cr0, eax
    .byte 0xea                  # far jump to protected mode
    .word 0x7c80, 0x08
9:  hlt
    jmp 9b
    .org stampo_probe_payload + 0x38
    .quad 0                     # descriptors: none,
    .quad 0x00cf9a000000ffff    # 08 code, 32 bit
    .quad 0x00cf92000000ffff    # 10 data
    .quad 0x00af9a000000ffff    # 18 code, 64 bit
    .quad 0x00cff2000000ffff    # 20 user data
    .quad 0x00affa000000ffff    # 28 user code, 64 bit
    .quad 0x0000890080000067    # 30 task state at 0x8000
    .quad 0
    .org stampo_probe_payload + 0x78
    .word 0x3f                  # the table of descriptors
    .long 0x7c38
    .org stampo_probe_payload + 0x80
    .code32
    mov ax, 0x10
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov al, 'P'
    out 0xe9, al
    xor eax, eax                # tables: task 0x8000, interrupts 0x9000, pages 0x10000
    mov edi, 0x8000
    mov ecx, 0x3000
    cld
    rep stosd
    mov dword ptr [0x10000], 0x11007
    mov dword ptr [0x11000], 0x12007
    mov eax, 0x87
    mov edi, 0x12000
    mov ecx, 8                  # 16 MiB are there; what is above faults
2:  mov dword ptr [edi], eax
    add eax, 0x200000
    add edi, 8
    dec ecx
    jnz 2b
    mov eax, 0x10000
    mov cr3, eax
    mov eax, cr4
    or eax, 0x620               # PAE and SSE
    mov cr4, eax
    mov ecx, 0xc0000080         # EFER: long mode
    rdmsr
    or eax, 0x100
    wrmsr
    mov eax, cr0
    or eax, 0x80000000
    mov cr0, eax
    .byte 0xea                  # far jump to long mode
    .long 0x7e00
    .word 0x18
    .org stampo_probe_payload + 510
    .byte 0x55, 0xaa
    .code64
    mov al, 'L'
    out 0xe9, al
    mov esp, 0x7c00
    mov dword ptr [0x8004], 0xf000
    mov ax, 0x30
    ltr ax
    mov bl, 0x8e
    lea rax, [rip + 40f]        # page fault
    mov edi, 0x9000 + 14 * 16
    call 60f
    lea rax, [rip + 41f]        # timer
    mov edi, 0x9000 + 0x20 * 16
    call 60f
    mov bl, 0xee
    lea rax, [rip + 42f]        # system call
    mov edi, 0x9000 + 0x80 * 16
    call 60f
    lidt [rip + 70f]
    mov al, 'I'
    out 0xe9, al
    mov ebx, 0x1000000
    mov ecx, 24
3:  mov qword ptr [rbx], rcx
    cmp qword ptr [rbx], rcx
    jne 50f
    add ebx, 0x200000
    dec ecx
    jnz 3b
    cmp r15d, 24
    jne 50f
    mov al, 'F'
    out 0xe9, al
    mov al, 0x11                # interrupt controllers: vectors from 0x20, timer only
    out 0x20, al
    mov al, 0x20
    out 0x21, al
    mov al, 4
    out 0x21, al
    mov al, 1
    out 0x21, al
    mov al, 0xfe
    out 0x21, al
    mov al, 0xff
    out 0xa1, al
    mov al, 0x34                # timer: 1000 Hz
    out 0x43, al
    mov ax, 1193
    out 0x40, al
    mov al, ah
    out 0x40, al
    xor r14d, r14d
    sti
4:  hlt
    cmp r14d, 50
    jb 4b
    mov al, 'T'
    out 0xe9, al
    push 0x23
    push 0x7000
    pushfq
    push 0x2b
    lea rax, [rip + 5f]
    push rax
    iretq                       # to user mode
5:  mov ebp, 100
6:  mov eax, 7
    xor ecx, ecx
    cpuid
    movaps xmm1, xmm0
    paddd xmm0, xmm1
    rdtsc
    xor eax, eax
    int 0x80
    mov ecx, 2000000
7:  dec ecx
    jnz 7b
    mov ecx, 4096
    mov esi, 0x1000000
8:  add qword ptr [rsi], rcx
    add rsi, 8
    dec ecx
    jnz 8b
    dec ebp
    jnz 6b
    mov eax, 1
    int 0x80
    ud2
40: push rax                    # page fault: map the page and try again
    push rdi
    inc r15d
    mov rax, cr2
    shr rax, 21
    lea rdi, [rax * 8 + 0x12000]
    shl rax, 21
    or al, 0x87
    mov qword ptr [rdi], rax
    pop rdi
    pop rax
    add rsp, 8
    iretq
41: push rax                    # timer
    inc r14d
    mov al, 0x20
    out 0x20, al
    pop rax
    iretq
42: inc r13d                    # system call; 1 ends
    cmp eax, 1
    je 43f
    iretq
43: cmp r13d, 101
    jne 50f
    mov al, 'U'
    out 0xe9, al
    mov al, 0x2a
    out 0xf4, al
44: hlt
    jmp 44b
50: mov al, '!'
    out 0xe9, al
    mov al, 0x15
    out 0xf4, al
51: hlt
    jmp 51b
60: mov word ptr [rdi], ax      # one interrupt gate
    mov word ptr [rdi + 2], 0x18
    mov byte ptr [rdi + 5], bl
    ret
70: .word 0xfff
    .quad 0x9000
    .org stampo_probe_payload + 2048
    .section .text
    "#
);

unsafe extern "C" {
    #[link_name = "stampo_probe_payload"]
    static PAYLOAD: [u8; SIZE_BYTES];
}

/// The program, to be put at the start of a disk.
pub(super) fn bytes() -> &'static [u8; SIZE_BYTES] {
    // SAFETY: the symbol is defined above in read-only data, with exactly this size, and is never
    // written.
    unsafe { &PAYLOAD }
}

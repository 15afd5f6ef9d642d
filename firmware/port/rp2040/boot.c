/* SPDX-License-Identifier: Apache-2.0 */
/* Second stage of the RP2040's boot (RP2040 Datasheet, sections 2.8.1 and 4.10): the boot ROM
 * copies the first 256 bytes of flash to RAM, checks their CRC and runs them there. This one lets
 * the CPU execute from flash, by the serial read command 03h that every flash knows, and starts
 * what follows it.
 *
 * Top-level assembly, because the CRC belongs to these very bytes. */
__asm(".syntax unified\n"
      ".section .boot, \"ax\"\n"
      ".thumb\n"
      ".balign 4\n"
      "edc_boot:\n"
      "ldr r0, 1f\n" /* SSI */
      "movs r1, #0\n"
      "str r1, [r0, #8]\n" /* SSIENR: off while it is set up */
      "movs r1, #4\n"
      "str r1, [r0, #20]\n" /* BAUDR: a quarter of the system clock, 31 MHz at the most */
      "ldr r1, 2f\n"
      "str r1, [r0, #0]\n" /* CTRLR0: reads of 32 bits */
      "movs r1, #0\n"
      "str r1, [r0, #4]\n" /* CTRLR1: one word a read */
      "ldr r1, 3f\n"
      "movs r2, #0xF4\n"
      "str r1, [r0, r2]\n" /* SPI_CTRLR0: command 03h of 8 bits, address of 24 */
      "movs r1, #1\n"
      "str r1, [r0, #8]\n"
      "ldr r0, 4f\n"
      "ldr r1, 5f\n"
      "str r0, [r1, #0]\n" /* VTOR */
      "ldmia r0!, {r1, r2}\n"
      "msr msp, r1\n"
      "bx r2\n"
      ".balign 4\n"
      "1: .word 0x18000000\n"
      "2: .word 0x001F0300\n"
      "3: .word 0x03000218\n"
      "4: .word 0x10000100\n"
      "5: .word 0xE000ED08\n"
      ".org edc_boot + 252\n"
      ".word 0x301E1838\n" /* CRC-32 of the 252 bytes before: 0x04C11DB7, from all ones, not
                              reflected */
      ".text\n");

/* wine 8 has no bcryptprimitives.dll, where Rust's libraries (pydantic-core, cryptography) look for random numbers.
   This one hands them on from where wine has them. It is for the wine prefix alone and goes into no bundle. */
#include <windows.h>

BOOLEAN NTAPI SystemFunction036(PVOID buffer, ULONG length);

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE buffer, SIZE_T length)
{
    return SystemFunction036(buffer, (ULONG)length);
}

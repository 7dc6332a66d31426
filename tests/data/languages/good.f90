program good
  use, intrinsic :: iso_fortran_env, only: error_unit, output_unit
  character(64) :: given
  integer :: i
  call get_command_argument(1, given)
  if (given == "slow") then
    call execute_command_line("setsid sleep 1000 &")
    print '(a)', "started"
    flush (output_unit)
    call sleep(1000)
  end if
  read '(a)', given
  print '(a)', "hello " // trim(given)
  print '(a)', char(255)
  do i = 1, 100
    write (*, '(a)', advance='no') repeat("x", 1000000)
  end do
  print '()'
  write (error_unit, '(a)') "said apart"
  call exit(7)
end program good

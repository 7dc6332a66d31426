program good
  use, intrinsic :: iso_fortran_env, only: error_unit
  character(64) :: given
  read '(a)', given
  print '(a)', "hello " // trim(given)
  print '(a)', char(255)
  write (error_unit, '(a)') "said apart"
  call exit(7)
end program good

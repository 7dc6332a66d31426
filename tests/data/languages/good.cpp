#include <iostream>

int main()
{
	std::cout << "hello " << std::cin.rdbuf() << "\xff\n";
	std::cerr << "said apart\n";
	return 7;
}
